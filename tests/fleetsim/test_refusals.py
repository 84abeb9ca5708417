from __future__ import annotations

from http import HTTPStatus

from fleetsim.api.refusals import RefusalError, bad_parameter, detail, not_simulated, prompt_too_long, unknown_model


def test_a_refusal_has_vllms_body() -> None:
    reply = RefusalError(400, "BadRequestError", 'ä "quoted"', param="n").reply()
    assert reply.status == 400
    assert (
        reply.body == '{"error":{"message":"ä \\"quoted\\"","type":"BadRequestError","param":"n","code":400}}'.encode()
    )


def test_a_parameter_without_a_name_is_null() -> None:
    assert bad_parameter("no").reply().body == (
        b'{"error":{"message":"no","type":"BadRequestError","param":null,"code":400}}'
    )


def test_name_and_value_follow_the_message() -> None:
    assert str(bad_parameter("no.", param="n", value=0)) == "no. (parameter=n, value=0)"
    assert str(bad_parameter("no.", param="n")) == "no. (parameter=n)"


def test_the_router_speaks_fastapis_language() -> None:
    reply = detail(HTTPStatus.METHOD_NOT_ALLOWED, headers=(("allow", "GET"),))
    assert (reply.status, reply.body) == (405, b'{"detail":"Method Not Allowed"}')
    assert reply.headers == (("allow", "GET"),)


def test_an_unknown_model_is_told_which_are_known() -> None:
    assert unknown_model("x", "sim").reply().body == (
        b'{"error":{"message":"The model `x` does not exist. Valid aliases: sim.","type":"NotFoundError",'
        b'"param":"model","code":404}}'
    )


def test_what_is_not_simulated_is_501() -> None:
    assert not_simulated("logprobs").reply().status == 501


def test_a_text_is_only_known_to_be_too_long_and_ids_are_counted() -> None:
    assert "at least 9 input tokens" in prompt_too_long(tokens=50, output=0, limit=8, exact=False).message
    assert (
        "your prompt contains 50 input tokens, which"
        in prompt_too_long(tokens=50, output=0, limit=8, exact=True).message
    )
    both = prompt_too_long(tokens=50, output=3, limit=8, exact=True).message
    assert "you requested 3 output tokens and your prompt contains 50 input tokens, for a total of 53 tokens." in both
