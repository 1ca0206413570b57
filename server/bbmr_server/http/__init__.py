"""HTTP, apart from routes: protocol bounds, bodies, queries, content negotiation, middleware, problem documents."""
