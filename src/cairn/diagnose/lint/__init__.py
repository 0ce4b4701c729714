"""What objects mean otherwise than their author may think, found before they are applied.

    objects, World  ->  Found(code, object, path, sentence)

Not here    Shapes and types, which the API server's schemas tell of.
"""
