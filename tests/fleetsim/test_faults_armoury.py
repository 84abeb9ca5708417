from __future__ import annotations

import pytest
from fault_lines import AtAccept, connection, request
from hypothesis import given
from hypothesis import strategies as st

from fleetsim.errors import RuleError
from fleetsim.faults.armoury import Armoury, ServerRules
from fleetsim.faults.catalogue import Rules, parse_fault
from fleetsim.faults.rules import ArmedRule, Rule
from fleetsim.faults.scripts import ScriptRule
from fleetsim.faults.where import Where

RESET, GONE, LATE = parse_fault("reset"), parse_fault("before_head"), parse_fault("delayed")


class Fleet:
    """Servers without sockets: what the wire would ask, and a clock that is set by hand."""

    def __init__(self, size: int = 3, *, running: bool = True) -> None:
        self.now = 0.0
        self.asked: list[Rules | None] = [None] * size
        self.armoury = Armoury(seed=1)
        self.servers = [self._join(index) for index in range(size)]
        if running:
            self.armoury.begin(lambda: self.now)

    def _join(self, index: int) -> ServerRules:
        def switch(rules: Rules | None) -> None:
            self.asked[index] = rules

        return self.armoury.join(index, {"rack": "ab"[index % 2]}, switch)

    def struck(self, index: int = 0) -> list[str]:
        rules = self.asked[index]
        return [] if rules is None else [fault.name for fault in rules.for_request(request(), {})]


def test_a_server_on_which_nothing_is_armed_is_not_asked_at_all() -> None:
    fleet = Fleet()
    assert fleet.asked == [None] * 3
    rule = fleet.armoury.arm(Rule(RESET), only=fleet.servers[1])
    assert fleet.asked == [None, fleet.servers[1], None]
    rule.remove()
    rule.remove()
    assert fleet.asked == [None] * 3


def test_overlapping_faults_add_up_and_come_off_independently() -> None:
    fleet = Fleet()
    with fleet.armoury.arm(Rule(RESET)) as first:
        with fleet.armoury.arm(Rule(LATE)) as second:
            assert fleet.struck() == ["reset", "delayed"]
            first.remove()
            assert fleet.struck() == ["delayed"]
        assert fleet.struck() == []
    assert (first.fired, second.fired) == (1, 2)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), max_size=30))
def test_whatever_comes_and_goes_what_is_armed_strikes_in_the_order_it_was_armed(moves: list[tuple[bool, int]]) -> None:
    fleet = Fleet(1)
    names = ["reset", "delayed", "before_head", "never", "close"]
    there: list[tuple[str, ArmedRule]] = []
    for coming, which in moves:
        if coming:
            there.append((names[which], fleet.armoury.arm(Rule(parse_fault(names[which])))))
        elif there:
            there.pop(which % len(there))[1].remove()
        assert fleet.struck() == [name for name, _ in there]
        assert fleet.armoury.rules() == tuple(rule for _, rule in there)
        assert (fleet.asked[0] is None) == (not there)


def test_rules_for_one_path_for_several_and_for_all_strike_in_the_order_they_were_armed() -> None:
    fleet = Fleet()
    path = request().path
    for fault, route in ((RESET, path), (LATE, None), (GONE, "/*"), (LATE, "/elsewhere"), (RESET, path)):
        fleet.armoury.arm(Rule(fault, where=Where(route=route)))
    assert fleet.struck() == ["reset", "delayed", "before_head", "reset"]
    assert [rule.armed for rule in fleet.armoury.rules()] == [1, 1, 1, 0, 1]


def test_a_request_that_only_counting_rules_of_other_paths_could_be_for_does_not_look_at_the_clock() -> None:
    fleet, reads = Fleet(running=False), list[float]()

    def clock() -> float:
        reads.append(0.0)
        return 0.0

    fleet.armoury.begin(clock)
    fleet.armoury.arm(Rule(RESET, times=1, where=Where(route="/elsewhere")))
    before = len(reads)
    assert fleet.struck() == []
    assert len(reads) == before


def test_a_rule_for_connections_that_is_over_costs_nothing_any_more() -> None:
    fleet = Fleet()
    fleet.armoury.arm(Rule(AtAccept(), times=1))
    rules = fleet.asked[0]
    assert rules is not None
    assert len(rules.for_connection(connection())) == 1
    assert fleet.asked[0] is None


def test_a_rule_for_another_path_heals_itself_all_the_same() -> None:
    fleet = Fleet()
    fleet.armoury.arm(Rule(RESET, for_=5, where=Where(route="/elsewhere")))
    assert fleet.struck() == []
    assert fleet.asked[0] is not None
    fleet.now = 6.0
    assert fleet.struck() == []
    assert fleet.asked[0] is None


def test_a_script_decides_over_a_rule_and_leaves_its_account_alone() -> None:
    fleet = Fleet()
    rule = fleet.armoury.arm(Rule(RESET))
    script = fleet.armoury.arm_script(["ok", GONE], Where(), fleet.servers[0])
    assert [fleet.struck() for _ in range(3)] == [[], ["before_head"], ["reset"]]
    script.assert_consumed()
    assert rule.armed == 1


def test_a_second_script_waits_for_the_first() -> None:
    fleet = Fleet()
    fleet.armoury.arm_script([RESET], Where(), fleet.servers[0])
    second = fleet.armoury.arm_script([GONE, LATE], Where(), fleet.servers[0])
    assert [fleet.struck() for _ in range(2)] == [["reset"], ["before_head"]]
    second.remove()
    assert fleet.struck() == []
    assert second.remaining == (LATE,)


def test_a_script_that_is_consumed_and_a_rule_that_is_over_cost_nothing_any_more() -> None:
    fleet = Fleet()
    rule = fleet.armoury.arm(Rule(RESET, times=1), only=fleet.servers[0])
    fleet.armoury.arm_script(["ok"], Where(), fleet.servers[0])
    assert [fleet.struck() for _ in range(3)] == [[], ["reset"], []]
    assert fleet.asked[0] is None
    assert fleet.armoury.rules() == (rule,)


def test_a_rule_whose_time_is_over_has_healed_itself_everywhere() -> None:
    fleet = Fleet(2, running=False)
    fleet.armoury.arm(Rule(RESET, for_=5.0))
    fleet.now = 100.0
    fleet.armoury.begin(lambda: fleet.now)
    fleet.now = 104.0
    assert fleet.struck(0) == ["reset"]
    fleet.now = 105.0
    assert [fleet.struck(index) for index in (0, 1)] == [[], []]
    assert fleet.asked == [None, None]


@pytest.mark.parametrize(
    ("where", "on"),
    [(Where(), [0, 1, 2]), (Where(server=(0, 2)), [0, 2]), (Where(tag="rack=a"), [0, 2]), (Where(tag="rack=b"), [1])],
)
def test_a_rule_is_armed_where_it_is_meant(where: Where, on: list[int]) -> None:
    fleet = Fleet()
    fleet.armoury.arm(Rule(RESET, where=where))
    assert [index for index in range(3) if fleet.asked[index] is not None] == on


@pytest.mark.parametrize("where", [Where(server=3), Where(tag="gpu")])
def test_a_rule_for_no_server_is_refused_and_nothing_is_armed(where: Where) -> None:
    fleet = Fleet()
    with pytest.raises(RuleError, match=r"where: expected one of servers 0 to 2, got (server=3|tag='gpu')"):
        fleet.armoury.arm(Rule(RESET, where=where))
    assert fleet.armoury.rules() == ()
    assert fleet.asked == [None] * 3


def test_connections_are_counted_for_rules_about_requests() -> None:
    fleet = Fleet(1)
    fleet.armoury.arm(Rule(RESET, where=Where(connection=2)))
    (rules,) = fleet.asked
    assert rules is not None
    lines = [connection(number) for number in (1, 2, 3)]
    assert not any(rules.for_connection(line) for line in lines)
    assert [len(rules.for_request(request(line), {})) for line in lines] == [0, 1, 0]


def test_a_connection_is_struck_by_rules_and_by_the_step_of_a_script() -> None:
    fleet = Fleet(1)
    rule = fleet.armoury.arm(Rule(AtAccept(), times=1))
    fleet.armoury.arm_script([AtAccept()], Where(), fleet.servers[0])
    (rules,) = fleet.asked
    assert rules is not None
    assert [len(rules.for_connection(connection(number))) for number in (1, 2, 3)] == [1, 1, 0]
    assert rule.fired == 1


def test_rules_are_found_by_number_and_cleared_together() -> None:
    fleet = Fleet()
    first, second = fleet.armoury.arm(Rule(RESET)), fleet.armoury.arm(Rule(LATE))
    script = fleet.armoury.arm_script([GONE], Where(), fleet.servers[0])
    (third,) = fleet.armoury.scripts()
    assert [fleet.armoury.find(number) for number in (1, 2, 3, 4)] == [first, second, third, None]
    assert fleet.armoury.clear() == 3
    assert [fleet.armoury.find(number) for number in (1, 2, 3)] == [None] * 3
    assert fleet.struck() == []
    assert script.remaining == (GONE,)


def test_each_server_plays_a_script_for_itself_and_one_account_tells_of_all() -> None:
    fleet = Fleet()
    script = fleet.armoury.arm_scripts(ScriptRule((GONE, None, RESET), Where(server=(0, 2))))
    assert [fleet.struck(0) for _ in range(2)] == [["before_head"], []]
    assert fleet.struck(1) == []
    assert fleet.struck(2) == ["before_head"]
    assert (script.number, script.armed, script.fired) == (1, 3, 2)
    assert script.left == {0: ["reset"], 2: ["ok", "reset"]}
    assert not fleet.armoury.is_over(script)
    assert [fleet.struck(index) for index in (0, 0, 2, 2, 2)] == [["reset"], [], [], ["reset"], []]
    assert fleet.armoury.is_over(script)
    assert fleet.armoury.scripts() == (script,)
    assert fleet.asked == [None] * 3


def test_a_script_that_is_removed_is_left_as_it_stands() -> None:
    fleet = Fleet()
    script = fleet.armoury.arm_any(ScriptRule((GONE, GONE)))
    fleet.struck(0)
    script.remove()
    script.remove()
    assert fleet.asked == [None] * 3
    assert fleet.armoury.scripts() == ()
    assert (script.armed, script.fired) == (1, 1)


def test_a_script_for_no_server_is_refused() -> None:
    fleet = Fleet()
    with pytest.raises(RuleError, match="where: expected one of servers 0 to 2, got server=3"):
        fleet.armoury.arm_any(ScriptRule((GONE,), Where(server=3)))
    assert fleet.armoury.scripts() == ()


def test_a_script_of_one_server_is_listed_until_it_is_left() -> None:
    fleet = Fleet()
    with fleet.armoury.arm_script([GONE], Where(), fleet.servers[1]):
        assert [script.left for script in fleet.armoury.scripts()] == [{1: ["before_head"]}]
    assert fleet.armoury.scripts() == ()


def test_anew_there_is_no_rule_and_no_script_and_numbers_begin_at_one() -> None:
    fleet = Fleet()
    fleet.armoury.arm(Rule(RESET))
    fleet.armoury.arm_script([GONE], Where(), fleet.servers[0])
    fleet.armoury.start_anew()
    assert fleet.asked == [None] * 3
    assert fleet.armoury.arm(Rule(RESET)).number == 1
