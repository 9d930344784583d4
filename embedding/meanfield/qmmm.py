"""DFT of the QM region in the field of MM charges: a door to PySCF. Atomic units in and out.

Source of the energy: E = E_DFT[QM; charges], with the charges acting on electrons and nuclei; no MM
energy, no Lennard-Jones, no charge-charge term.
"""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drupe.embedding.level import Level
from drupe.embedding.meanfield.dispersion import Dispersion, check_dispersion, disperse
from drupe.embedding.meanfield.fitting import check_fitting
from drupe.embedding.meanfield.functional_gradient import kohn_sham_gradient
from drupe.embedding.meanfield.molecule import build_molecule
from drupe.embedding.meanfield.newton import second_order
from drupe.embedding.meanfield.pointcharges import charge_forces, charge_matrix, nuclear_energy
from drupe.embedding.meanfield.restart import Restart, fitting_name
from drupe.embedding.meanfield.spillage import Spillage, measure_spillage
from drupe.embedding.meanfield.two_grids import converge
from drupe.errors import ConvergenceError, InputError

__all__ = ["MeanField", "check_converged", "check_level", "make_engine", "run_dft", "starting_density"]

Matrix = NDArray[np.float64]

_DISPERSION = re.compile(r"[-_]d([234]|$)", re.IGNORECASE)
_EXACT_LIMIT = 120  # basis functions up to which exact four-index integrals are kept


@dataclass(frozen=True, eq=False)
class MeanField:
    """A converged SCF in point charges, as arrays (for closed shells) and PySCF's own object.

    Fields: ``engine`` PySCF's SCF object; ``hcore`` with the charges, ``overlap`` and ``density`` (both
    spins) of shape ``(n_ao, n_ao)``; ``energy`` in hartree with nuclei and dispersion; ``points``,
    ``charges``, ``radii`` of the surroundings; ``iterations`` of the SCF; ``dispersion``; ``restart`` for
    the SCF of a near geometry; ``spillage`` electrons on MM charges; ``terms`` the named parts of the energy
    in hartree, which add up to it.
    """

    engine: Any
    hcore: Matrix
    overlap: Matrix
    density: Matrix
    energy: float
    points: Matrix
    charges: NDArray[np.float64]
    radii: NDArray[np.float64] | None
    iterations: int
    dispersion: Dispersion
    restart: Restart
    spillage: Spillage
    terms: Mapping[str, float]

    @property
    def is_closed_shell(self) -> bool:
        """Whether one set of orbitals serves both spins."""
        return bool(np.asarray(self.engine.mo_occ).ndim == 1)

    @property
    def occupied(self) -> Matrix:
        """Occupied orbitals of a closed shell, shape ``(n_ao, n_occ)``."""
        orbitals: Matrix = self.engine.mo_coeff[:, self.engine.mo_occ > 0]
        return orbitals

    def two_electron(self, orbitals: Matrix) -> tuple[float, Matrix]:
        """Energy and potential g of the density 2 C C^T: Coulomb, exchange, correlation.

        Parameters
        ----------
        orbitals
            Doubly occupied orbitals, shape ``(n_ao, n)``.

        Returns
        -------
        energy, potential
            Hartree; shape ``(n_ao, n_ao)``.
        """
        from pyscf import lib

        density = lib.tag_array(
            2 * orbitals @ orbitals.T, mo_coeff=orbitals, mo_occ=np.full(orbitals.shape[1], 2.0)
        )
        if orbitals.shape[1] == 0:
            return 0.0, np.zeros_like(self.hcore)
        potential = self.engine.get_veff(self.engine.mol, density)
        return float((potential.ecoul + potential.exc).real), self._electronic(potential)

    def _electronic(self, potential: Any) -> Matrix:
        """Two-electron part of what the engine's get_veff returns."""
        return np.asarray(potential)

    @cached_property
    def potential(self) -> Matrix:
        """Two-electron potential g of the whole closed-shell density, ``(n_ao, n_ao)`` hartree."""
        return self.two_electron(self.occupied)[1]

    def hartree_fock_potential(self, orbitals: Matrix) -> Matrix:
        """Return 2 J - K of doubly occupied ``orbitals`` ``(n_ao, n)`` from the same integrals, hartree."""
        from pyscf import lib

        density = lib.tag_array(
            2 * orbitals @ orbitals.T, mo_coeff=orbitals, mo_occ=np.full(orbitals.shape[1], 2.0)
        )
        coulomb, exchange = self.engine.get_jk(self.engine.mol, density, hermi=1)
        return np.asarray(coulomb - exchange / 2)

    @cached_property
    def tensor(self) -> Matrix:
        """Three-index tensor L with (ij|kl) = sum_P L_Pij L_Pkl, shape ``(n_aux, n_ao (n_ao + 1) / 2)``."""
        from pyscf import lib

        fit = getattr(self.engine, "with_df", None)
        if fit is not None and isinstance(fit._cderi, np.ndarray):
            return fit._cderi  # held in memory already
        if fit is not None:
            return np.vstack(list(fit.loop()))
        values, vectors = np.linalg.eigh(self.engine.mol.intor("int2e", aosym="s4"))
        kept = values > 1e-14
        tensor: Matrix = lib.transpose(np.asarray(vectors[:, kept] * np.sqrt(values[kept]), order="C"))
        return tensor

    def core_rows(self, atoms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the indices of the basis functions of ``atoms`` (counted in the QM region)."""
        bounds = self.engine.mol.aoslice_by_atom()[:, 2:]
        return np.concatenate([np.arange(*bounds[atom]) for atom in atoms])

    def forces(self, added: Matrix | None = None) -> tuple[Matrix, Matrix]:
        """Return forces on QM nuclei ``(qm, 3)`` and on MM charges ``(mm, 3)``, hartree/bohr.

        The charges feel the density and, with it, ``added`` ``(n_ao, n_ao)``.
        """
        inner = -kohn_sham_gradient(self.engine)
        density = self.density if added is None else self.density + added
        nuclei, charges = charge_forces(self.engine.mol, density, self.points, self.charges, self.radii)
        return inner + nuclei + self.dispersion.forces, charges

    def core_dispersion(self, atoms: NDArray[np.int64]) -> float:
        """Dispersion energy between the atoms of a core (counted in the QM region), hartree.

        The wavefunction of the core describes it too: subtract it where the core's correction is added.
        """
        return self.dispersion.within(atoms)

    def mulliken(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mulliken charges ``(qm,)`` in e, and the dipole ``(3,)`` in e bohr about the QM centroid."""
        mol = self.engine.mol
        populations = np.einsum("ij,ji->i", self.density, self.overlap)
        bounds = mol.aoslice_by_atom()[:, 2:]
        charges = mol.atom_charges() - np.array([populations[a:b].sum() for a, b in bounds])
        with mol.with_common_orig(mol.atom_coords().mean(axis=0)):
            electrons = np.einsum("xij,ji->x", mol.intor_symmetric("int1e_r", comp=3), self.density)
        arms = mol.atom_coords() - mol.atom_coords().mean(axis=0)
        return charges, mol.atom_charges() @ arms - electrons


def run_dft(
    numbers: NDArray[np.int64],
    positions: Matrix,
    charge: int,
    multiplicity: int,
    points: Matrix,
    charges: NDArray[np.float64],
    level: Level,
    density: Matrix | Restart | None = None,
    radii: NDArray[np.float64] | None = None,
) -> MeanField:
    """Converge the SCF of the QM region in the field of ``charges``.

    Parameters
    ----------
    numbers, positions, charge, multiplicity
        The QM region: ``(qm,)``, ``(qm, 3)`` bohr, e, 2S + 1.
    points, charges
        The MM charges: ``(mm, 3)`` bohr, ``(mm,)`` e.
    level
        Functional, basis, grid, thresholds.
    density
        Where to start: the ``restart`` of a mean field at a near geometry, or a density matrix of shape
        ``(n_ao, n_ao)`` or ``(2, n_ao, n_ao)``; changes the result within the thresholds.
    radii
        Gaussian width of each MM charge, ``(mm,)`` bohr; None for points.

    Raises
    ------
    InputError
        If the functional, the basis or an element is not available, or electrons exceed orbitals.
    ConvergenceError
        If the SCF does not converge.
    """
    check_level(numbers, positions, charge, multiplicity, level)
    engine = make_engine(build_molecule(numbers, positions, charge, multiplicity, level), level)
    mol = engine.mol
    field = charge_matrix(mol, points, charges, radii)
    outer = nuclear_energy(mol, points, charges, radii)
    dispersion = disperse(numbers, positions, charge, level)
    hcore = engine.get_hcore() + field
    inner = float(mol.energy_nuc())
    nuclear = inner + outer
    engine.get_hcore = lambda *_args: hcore
    engine.energy_nuc = lambda *_args: nuclear
    name = fitting_name(numbers, charge, multiplicity, level)
    known_shift = None
    if isinstance(density, Restart):
        density.check_fits(name)
        known_shift, density = density.shift, density.density
    start = starting_density(engine, density)
    if level.scf == "newton":
        iterations, shift = second_order(engine, start), np.zeros_like(start)
    else:
        iterations, shift = converge(engine, start, level, known_shift)
    energy = engine.e_tot
    check_converged(engine, energy, level)
    final = np.asarray(engine.make_rdm1())
    total = final if final.ndim == 2 else final[0] + final[1]
    parts, in_field = engine.scf_summary, float(np.vdot(total, field))
    spillage = measure_spillage(engine, total, points, charges)
    return MeanField(
        engine=engine,
        hcore=hcore,
        overlap=engine.get_ovlp(),
        density=total,
        energy=float(energy) + dispersion.energy,
        points=points,
        charges=charges,
        radii=radii,
        iterations=iterations,
        dispersion=dispersion,
        restart=Restart(final, shift, name),
        spillage=spillage,
        terms={
            "nuclear repulsion": inner,
            "one-electron": float(parts["e1"].real) - in_field,
            "Coulomb": float(parts["coul"].real),
            "exchange-correlation": float(parts["exc"].real),
            "nuclei-charges": outer,
            "electrons-charges": in_field,
            "dispersion": dispersion.energy,
        },
    )


def check_level(
    numbers: NDArray[np.int64], positions: Matrix, charge: int, multiplicity: int, level: Level
) -> None:
    """Refuse a level that this QM region cannot be computed at; see `run_dft` for the arguments.

    Raises
    ------
    InputError
        If the functional, a basis or an element is not available, the fitting basis is none, or electrons
        exceed orbitals.
    """
    from pyscf import df, dft
    from pyscf.lib.exceptions import BasisNotFoundError
    from pyscf.scf.dispersion import parse_dft

    if _DISPERSION.search(level.functional):
        raise InputError(
            f"the functional {level.functional!r} asks for a dispersion correction by its name",
            remedy='leave the suffix out and set dispersion="d3bj" or "d4"; where that is another functional '
            "(wB97X-D, B97-D) take one that has parameters for it, or wB97X-V, which brings its own",
        )
    mol = build_molecule(numbers, positions, charge, multiplicity, level)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an unknown name raises right after its warning
            parse_dft(level.functional)  # refuses what the SCF would stumble over later
            (exact, *_), parts = dft.libxc.parse_xc(level.functional)
            if level.auxbasis is not None:
                df.addons.make_auxmol(mol, level.auxbasis)
    except (KeyError, ValueError, BasisNotFoundError, RuntimeError, NotImplementedError) as error:
        raise InputError(
            f"functional {level.functional!r} with the fitting basis {level.auxbasis!r} "
            f"cannot be used ({error})",
            remedy="use names that PySCF knows, such as PBE and def2-universal-jkfit",
        ) from error
    if not exact and not parts:
        raise InputError(
            f"the functional {level.functional!r} is empty: it has neither exchange nor correlation",
            remedy="name a functional that PySCF knows, such as PBE, or HF",
        )
    if level.dispersion is not None:
        check_dispersion(level)
    if level.auxbasis is not None:
        _, *fractions = dft.numint.NumInt().rsh_and_hybrid_coeff(level.functional)
        bare = [z for i, z in enumerate(numbers.tolist()) if not mol.atom_nelec_core(i)]
        check_fitting(bare, level.auxbasis, exchange=any(fractions) or level.core is not None)
    if level.auxbasis is None and mol.nao > _EXACT_LIMIT:
        raise InputError(
            f"exact integrals were asked for with {mol.nao} basis functions (at most {_EXACT_LIMIT})",
            remedy='set auxbasis="def2-universal-jkfit"; analytic forces exist with fitted integrals too',
        )


def make_engine(mol: Any, level: Level) -> Any:
    """Kohn-Sham object of PySCF with the level's functional, fitting, grid and thresholds."""
    from pyscf import dft

    engine = dft.RKS(mol) if mol.spin == 0 else dft.UKS(mol)
    engine.xc = level.functional
    engine._chkfile.close()  # else an open file stays behind each label
    engine.chkfile = None
    if level.auxbasis is not None:
        engine = engine.density_fit(auxbasis=level.auxbasis)
        engine.with_df.build()
    # Hartree-Fock has nothing to integrate; the engine builds a grid all the same.
    engine.grids.level = 0 if dft.libxc.xc_type(level.functional) == "HF" else level.grid
    engine.conv_tol, engine.conv_tol_grad = level.scf_tolerance, level.gradient_tolerance
    engine.max_cycle = level.max_cycles
    return engine


def starting_density(engine: Any, density: Matrix | None) -> Matrix:
    """Return ``density`` if it has the engine's shape, PySCF's guess if it is None; else `InputError`."""
    expected = (engine.mol.nao,) * 2 if engine.mol.spin == 0 else (2, engine.mol.nao, engine.mol.nao)
    if density is None:
        return np.asarray(engine.get_init_guess())
    if density.shape != expected or not np.isfinite(density).all():
        raise InputError(
            f"the starting density has shape {density.shape}, this QM region needs {expected}, finite",
            remedy="pass the density of the same atoms in the same basis, or none",
        )
    return density


def check_converged(engine: Any, energy: float, level: Level) -> None:
    """Raise `ConvergenceError` unless the engine's SCF converged to a finite ``energy``."""
    if not engine.converged or not np.isfinite(energy):
        raise ConvergenceError(
            f"the {level.name} SCF did not converge in {level.max_cycles} iterations (last energy {energy})",
            remedy="look at the geometry, charge and spin of the QM region and at MM charges on it "
            "(charge_radii smears them); else raise max_cycles"
            + (', or set scf="newton"' if level.scf == "diis" else ""),
        )
