# Unpack gzip by ISA-L, where its header is (Debian: libisal-dev), else by zlib. ISAL=yes insists on
# it, ISAL=no goes without.
ISAL ?= $(shell echo 'int isal = sizeof(struct inflate_state);' | \
	$(or $(CC),cc) $(CPPFLAGS) -include isa-l/igzip_lib.h -x c -fsyntax-only - 2>/dev/null && echo yes || echo no)
ifeq ($(ISAL),yes)
ISAL_CPPFLAGS = -DLDR_ISAL
ISAL_LIBS = -lisal
endif
