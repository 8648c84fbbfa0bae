"""The known processes, and what independent computations to twelve digits say about them."""

from torsor.persistence import Matern, RandomAcceleration, SechDiffusion, SquaredExponential

EXPONENTS = {
    "diffusion 1": (SechDiffusion(1), 0.120327978842),
    "diffusion 2": (SechDiffusion(2), 0.186210712979),
    "diffusion 3": (SechDiffusion(3), 0.235774477540),
    "diffusion 4": (SechDiffusion(4), 0.276914508963),
    "diffusion 5": (SechDiffusion(5), 0.312777001658),
    "diffusion 6": (SechDiffusion(6), 0.344959440662),
    "diffusion 10": (SechDiffusion(10), 0.451334684981),
    "random acceleration": (RandomAcceleration(), 0.264668571132),
    "squared exponential": (SquaredExponential(), 0.411497153976),
    "Matern 3/2": (Matern(1.5), 0.583179282602),
    "Matern 5/2": (Matern(2.5), 0.489766299363),
    "Matern 7/2": (Matern(3.5), 0.462620142187),
}
PROCESSES = {name: cov for name, (cov, _) in EXPONENTS.items()}
