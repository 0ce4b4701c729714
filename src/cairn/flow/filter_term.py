"""What a field of a flow filter compiles to.

alternatives, dictionaries, name of the cluster  ->  Term: records -> array of bool
"""

from collections.abc import Callable
from typing import Any

from cairn.flow.address import Records
from cairn.flow.columns import Dictionaries
from cairn.flow.key_test import Bools

Term = Callable[[Records], Bools]
Compile = Callable[[Any, Dictionaries, str], Term]
