"""How far two folders of label maps agree."""
