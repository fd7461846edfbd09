
# Appended to the program of a page: prints what it got, a line each, for
# test/all/clients.pl to check.
print("type", type(inserted).__name__)
print("inserted", inserted)
print("read", read)
print("known", known)
print("block", *block)
