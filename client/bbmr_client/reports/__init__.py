"""Reports on containers and pictures: the JSON of `encode` and `info`, rate maps, differences, comparisons."""
