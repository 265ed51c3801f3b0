"""The parts that families are made of. Each computes on rows [N, D]; only attention and pooling know about texts."""
