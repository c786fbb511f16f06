"""The console command `flare23`: every command of the kit's packages."""
