"""HTTP details: the protocol's bounds, bodies, queries, content negotiation, middleware, problem documents."""
