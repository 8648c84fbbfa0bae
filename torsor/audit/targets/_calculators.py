"""Calculators that have a name of their own, so that nobody needs to look up where they are and what they take."""

CALCULATORS = {
    "emt": "ase.calculators.emt:EMT()",
    "lennard-jones": "ase.calculators.lj:LennardJones()",
    "morse": "ase.calculators.morse:MorsePotential()",
    "gfn1-xtb": "tblite.ase:TBLite(method='GFN1-xTB', verbosity=0)",
    "gfn2-xtb": "tblite.ase:TBLite(method='GFN2-xTB', verbosity=0)",
    "chgnet": "chgnet.model.dynamics:CHGNetCalculator(use_device='cpu')",
    "sevennet-0": "sevenn.calculator:SevenNetCalculator('7net-0', device='cpu')",
    "sevennet-l3i5": "sevenn.calculator:SevenNetCalculator('7net-l3i5', device='cpu')",
}
"""Name -> `module:Calculator(arguments)`. All of them work without a network once their package is installed."""


def calculator_path(name: str) -> str:
    """The `module:Calculator(arguments)` that `ase:module:Calculator(arguments)` or `ase:name` means.

    Raises:
        ValueError: there is no such name; lists those that there are.

    >>> calculator_path("ase:emt"), calculator_path("ase:my.module:Mine()")
    ('ase.calculators.emt:EMT()', 'my.module:Mine()')
    """
    path = name.removeprefix("ase:")
    if ":" in path:
        return path
    if path not in CALCULATORS:
        known = ", ".join(f"ase:{word}" for word in CALCULATORS)
        raise ValueError(
            f"there is no calculator {name!r}; there are {known}; any other is ase:module:Calculator(arguments)"
        )
    return CALCULATORS[path]
