"""Plans for pools of websockets, played in a simulated world under the eyes of both ledgers.

`steps` is what a plan is made of, `drawing` draws one from a seed, `stands` are the pools it is played on, `users` lend
and talk, `witness` judges, `play` plays. A new oracle is a method of `Witness`, called where the thing happens or from
`Play._look_back`, that says `self.must(holds, "what must hold")`. A new kind of pool is a subclass of `Stand`.
"""
