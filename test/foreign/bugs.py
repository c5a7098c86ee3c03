"""What can be planted in the engine.

`tap`: the op whose output is wrong first, by definition of the bug; where a bug makes two wrong (q and k), the first of them.
`step`: the first step in which it can show. `id`, `parameter`: its name in docs/faults.md, None where it has none.
`fit`: the closed form that takes the right output to the wrong one: `factor`, `offset`, `row factor` (one a token),
`column factor` (one a channel, the same for all tokens), `permutation` (of columns), `shift` (of rows); None where there is none.
"""

from listed import LISTED
from unlisted import UNLISTED

BUGS = LISTED | UNLISTED
