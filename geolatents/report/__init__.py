"""The report page, made from artifacts of any stage."""
