"""Op definitions, one file a family; `smelt.ir.registry` collects them."""
