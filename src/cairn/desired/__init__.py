"""What should be: frozen values that the compiler makes and the appliers write.

    compile  ->  values  ->  apply

Not here    How they come about (compile), how they are written (apply).
"""
