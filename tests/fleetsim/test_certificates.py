from __future__ import annotations

import ssl
import sys
from pathlib import Path

import pytest
from answers import hello

from fleetsim import Fleet, FleetError, Profile
from fleetsim.certificates import Authority


def test_two_fleets_do_not_vouch_for_each_other() -> None:
    assert Authority("127.0.0.1").pem != Authority("127.0.0.1").pem


def test_the_ca_file_is_the_one_authority_of_the_client_context(tmp_path: Path) -> None:
    fleet = Fleet(1, answer=lambda index: hello, tls=True)
    path = fleet.ca_file(tmp_path / "ca.pem")
    (trusted,) = fleet.ssl_context().get_ca_certs(binary_form=True)
    assert ssl.PEM_cert_to_DER_cert(path.read_text()) == trusted
    assert "PRIVATE" not in path.read_text()


@pytest.mark.parametrize(("of_the_profile", "given", "scheme"), [(True, None, True), (True, False, False)])
def test_tls_is_the_profiles_unless_the_fleet_is_told(of_the_profile: bool, given: bool | None, scheme: bool) -> None:
    fleet = Fleet(1, answer=lambda index: hello, profile=Profile(tls=of_the_profile), tls=given)
    if scheme:
        assert fleet.ssl_context().verify_mode is ssl.CERT_REQUIRED
    else:
        with pytest.raises(FleetError, match=r"speaks no TLS: make it with Fleet\(\.\.\., tls=True\)"):
            fleet.ssl_context()


def test_without_tls_there_is_no_ca_file(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="speaks no TLS"):
        Fleet(1, answer=lambda index: hello).ca_file(tmp_path / "ca.pem")


def test_where_trustme_is_missing_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        Fleet(1, answer=lambda index: hello, tls=True)
    assert str(caught.value) == "fleetsim needs trustme: pip install 'swarmpool[fleet]'"
    assert caught.value.name == "trustme"


def test_no_key_shows_in_a_repr() -> None:
    assert repr(Authority("127.0.0.1")) == "<Authority>"
