"""What is shown of containers and pictures: figures as JSON, rate maps, differences and comparison sheets."""
