"""What must hold. `ORACLES` are all of them, in the order in which they are told."""

from hunt.oracles.answers import AnswersAreTheirOwn, CallersAreServedInOrder, NothingIsDoneTwice
from hunt.oracles.books import SlotBooks, SocketBooks
from hunt.oracles.oracle import Oracle
from hunt.oracles.outside import SlotsAreBounded, SocketsAreBounded
from hunt.oracles.rest import LedgersAgree, NothingIsLeft
from hunt.oracles.timing import LimitsOfTimeHold
from hunt.oracles.websockets import WebSocketBooks

__all__ = ["ORACLES", "Oracle"]

ORACLES: tuple[type[Oracle], ...] = (
    SocketsAreBounded,
    SlotsAreBounded,
    AnswersAreTheirOwn,
    CallersAreServedInOrder,
    NothingIsDoneTwice,
    SlotBooks,
    SocketBooks,
    WebSocketBooks,
    LimitsOfTimeHold,
    LedgersAgree,
    NothingIsLeft,
)
