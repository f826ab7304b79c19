# The types of the public API. A stub, because real imports here, even those for type checkers
# only, would count as imports of everything by whoever reads `imgmigrate.__version__`.
from imgmigrate.applying.apply import apply_plan
from imgmigrate.errors import ImgmigrateError
from imgmigrate.foreign.load import load_config
from imgmigrate.plan import read_plan
from imgmigrate.planning.planner import make_plan
from imgmigrate.planning.rollback.rollback import make_rollback

__all__ = [
    "ImgmigrateError",
    "__version__",
    "apply_plan",
    "load_config",
    "make_plan",
    "make_rollback",
    "read_plan",
]

__version__: str
