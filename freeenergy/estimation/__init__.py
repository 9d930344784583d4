"""Free energies from works and reduced potentials: arrays in kT in, numbers, errors and verdicts out."""
