# loader: PGXS build, and the project's own targets. `make` only builds.
#
#	make [PG_CONFIG=...] [WERROR=1] [ISAL=yes|no]	build src/ into loader.so
#	make install			install it into the server that pg_config names
#				both with clients/airbyte/destination-loader, where libpq's headers are
#	make installcheck		quick test (pg_regress) against a server that runs
#	make installcheck-isolation	isolation tests, the same way
#	make installcheck-tap		TAP tests; they start servers of their own
#	make unit [SAN=1]		unit tests of the parts without postgres.h
#	make fuzz [SAN=1]		replay the corpus of the fuzzers
#	make fuzz-long [TARGET=..] [MINUTES=20]	run them with libFuzzer, MINUTES of CPU each
#	make mutate [N=5000] [SEED=1]	load damaged packages into a throw-away server
#	make oracle DSN=...		compare with what dlt's own loader left (needs psycopg)
#	make demo | test | bench	all in one: set-up, build, throw-away server
#	make coverage | sanitize | growth | mutants	longer checks: docs/testing.md
#	make torture [SEED=1] [FAULTS=2000]	faults while packages are loaded

MODULE_big = loader
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))

EXTENSION = loader
DATA = $(sort $(wildcard sql/loader--*.sql))
DOCS = README.md docs/reference.md

# pg_regress: explicit, because sql/ holds the install scripts too
REGRESS = \
	setup \
	basic \
	refuse \
	data \
	text \
	control \
	replace \
	merge \
	geometry \
	upload \
	storage \
	jobs \
	reject \
	airbyte \
	readme \
	clean
ENCODING = UTF8
NO_LOCALE = 1

# isolation: specs and expected output are under test/isolation
ISOLATION_SPECS = $(sort $(basename $(notdir $(wildcard test/isolation/specs/*.spec))))
ISOLATION_OPTS = --inputdir=$(srcdir)/test/isolation --use-existing

PROVE_TESTS = $(sort $(wildcard test/t/*.pl))

PG_CPPFLAGS = -I$(srcdir)/src -MMD -MP
# Places for faults of the torture test: src/fault.h. Never for a build that is installed.
ifeq ($(FAULTS),1)
PG_CPPFLAGS += -DLDR_FAULTS
endif
# The server's headers are not clean under -Wextra; PG_FINALLY is what -Wclobbered complains about.
PG_CFLAGS = -std=gnu11 -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -Wno-clobbered
ifeq ($(WERROR),1)
PG_CFLAGS += -Werror
endif
SHLIB_LINK = -ljansson -lz -lzstd -larchive

include $(srcdir)tools/isal.mk
PG_CPPFLAGS += $(ISAL_CPPFLAGS)
SHLIB_LINK += $(ISAL_LIBS)

# The Airbyte connector: a program beside the module, for which PGXS has no rule. It shares what
# reads a configuration with the module.
connector = clients/airbyte/destination-loader
CONNECTOR_OBJS = $(patsubst %.c,%.o,$(sort $(wildcard clients/airbyte/*.c))) \
	src/status.o src/schema/airbyte_config.o src/schema/airbyte_spec.o

EXTRA_CLEAN = $(OBJS:.o=.d) $(build_stamp) $(connector) $(CONNECTOR_OBJS) \
	$(CONNECTOR_OBJS:.o=.d) results regression.diffs regression.out \
	output_iso tmp_check

PG_CONFIG ?= pg_config

# No bitcode: JIT inlines small functions into expressions, and none of ours is called there;
# building it would need the clang that the server was built with.
override with_llvm := no

# README.md is too common a name for the directory that all extensions share.
override docmoduledir := extension/loader

# The all-in-one targets work where no server is installed yet: they set it up and call make again.
all_in_one = demo test bench coverage fuzz-long growth mutants mutate sanitize torture
ifneq ($(filter-out $(all_in_one) unit fuzz oracle,$(or $(MAKECMDGOALS),all)),)
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)
endif

ifdef PGXS
ifneq ($(wildcard $(includedir)/libpq-fe.h),)
all: $(connector)
install: install-connector
uninstall: uninstall-connector
else
all: connector-missing
endif
endif

$(filter clients/%,$(CONNECTOR_OBJS)): override CPPFLAGS += -I$(includedir)

$(connector): $(CONNECTOR_OBJS)
	$(CC) $(CFLAGS) $(CONNECTOR_OBJS) $(LDFLAGS) $(LDFLAGS_EX) $(libpq) -ljansson -o $@

install-connector: $(connector)
	$(MKDIR_P) '$(DESTDIR)$(bindir)'
	$(INSTALL_PROGRAM) $(connector) '$(DESTDIR)$(bindir)/'

uninstall-connector:
	rm -f '$(DESTDIR)$(bindir)/$(notdir $(connector))'

connector-missing:
	@echo 'not built: $(connector), for lack of $(includedir)/libpq-fe.h (libpq-dev)'

# Objects of another server, or of other flags, are made anew.
build_stamp = src/.build
build_id = $(VERSION) $(includedir_server) $(CC) $(CFLAGS) $(FAULTS) $(ISAL_CPPFLAGS)
$(build_stamp): FORCE
	@echo '$(build_id)' | cmp -s - $@ || echo '$(build_id)' > $@
$(OBJS) $(CONNECTOR_OBJS): $(build_stamp)

# Headers, as the compiler found them when the object was made.
-include $(wildcard $(OBJS:.o=.d) $(CONNECTOR_OBJS:.o=.d))

# Where pg_regress and isolation tests find load packages. The server's user must be able to read
# them; `make test` therefore sets this to a copy. Tests read it by `echo`.
export LOADER_PACKAGES ?= $(abspath test/packages)
# Where psql finds README.md and what the tests share.
export LOADER_SOURCE = $(abspath $(srcdir))

# installcheck stays quick: these are not part of it.
# The specs use the functions that the pg_regress test "setup" makes, so they run in its database.
installcheck-isolation:
	$(MAKE) installcheck REGRESS=setup ISOLATION='$(ISOLATION_SPECS)' ISOLATION_TESTDB='$(CONTRIB_TESTDB)'
	$(MAKE) installcheck REGRESS=clean EXTRA_REGRESS_OPTS=--use-existing

installcheck-tap:
	$(MAKE) installcheck REGRESS= TAP_TESTS=1

unit:
	$(MAKE) -C test/unit all $(if $(SAN),SAN=$(SAN))

fuzz:
	$(MAKE) -C test/unit fuzz $(if $(SAN),SAN=$(SAN))

fuzz-long:
	test/fuzz/long.sh

mutate:
	@test/mutate/run.sh

oracle:
	test/oracle/run.sh $(if $(DSN),--dsn '$(DSN)')

demo:
	@test/demo.sh

test:
	@test/run.sh

bench:
	@bench/run.sh

coverage sanitize growth mutants:
	@tools/$@.sh

torture:
	@test/torture/run.sh

FORCE:

.PHONY: $(all_in_one) unit fuzz oracle installcheck-isolation installcheck-tap FORCE \
	install-connector uninstall-connector connector-missing
