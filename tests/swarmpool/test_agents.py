from __future__ import annotations

from swarmpool.agents import Agent
from swarmpool.endpoints import AgentEndpoint


def test_the_same_server_listed_twice_is_one_agent_to_the_cap() -> None:
    first, second = (
        Agent(AgentEndpoint("node7", 8000, {"rack": rack}), index) for index, rack in enumerate(["a", "b"])
    )
    assert first.key == second.key == "http://node7:8000"
    assert (first.tree_index, second.tree_index) == (0, 1)
    assert Agent(AgentEndpoint("node7", 8001), 2).key != first.key
    assert Agent(AgentEndpoint("node7", 8000, scheme="https"), 3).key != first.key


def test_a_url_is_parsed_once() -> None:
    agent = Agent(AgentEndpoint("::1", 8000), 0)
    assert str(agent.url("/v1/models")) == "http://[::1]:8000/v1/models"
    assert agent.url("/v1/models") is agent.url("/v1/models")
    assert agent.url("/health") != agent.url("/v1/models")


def test_an_agent_reads_as_its_address() -> None:
    assert f"{Agent(AgentEndpoint('node7', 9000), 0)}" == "http://node7:9000"
