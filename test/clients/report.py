
# Goes after the program of a page: what it got, a line each, for
# test/all/clients.pl to look at.
print("type", type(inserted).__name__)
print("inserted", inserted)
print("read", read)
print("known", known)
print("block", *block)
