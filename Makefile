MODULE_big = snowflake
OBJS = $(patsubst %.cpp,%.o,$(sort $(wildcard src/*.cpp)))
PGFILEDESC = "snowflake - time-ordered 64-bit IDs that are unique across servers"

EXTENSION = snowflake snowflake_registry
DATA = $(wildcard sql/snowflake*--*.sql)

# Header-only C++20: the library needs no libstdc++ at run time.  Libraries are
# loaded with global visibility, so only what the server looks up is exported.
# PostgreSQL 15's headers still use "register".
PG_CXXFLAGS = -std=c++20 -fno-exceptions -fno-rtti -fvisibility=hidden -Wno-register $(WARNINGS)

# The server's headers are not ours to warn about.
PG_CPPFLAGS = -isystem $(shell $(PG_CONFIG) --includedir-server)

# libpq, for the client of the registry.
PG_CPPFLAGS += -isystem $(shell $(PG_CONFIG) --includedir)
SHLIB_LINK = $(libpq)

# The module must be preloaded, so installcheck starts a server of its own.
REGRESS = \
	generate \
	backfill \
	convert \
	decode \
	encode \
	foreign \
	partition \
	published \
	query \
	registry \
	status \
	text
REGRESS_OPTS = --temp-instance=tmp_instance --temp-config=test/regress.conf
TAP_TESTS = 1
PROVE_TESTS = test/t/*.pl

FUZZERS = $(patsubst %.cpp,%,$(wildcard test/fuzz/*.cpp))

EXTRA_CLEAN = test/unit/unit test/unit/unit_tsan $(FUZZERS) tmp_check tmp_instance

PG_CONFIG = pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# PGXS leaves PG_CXXFLAGS out of the command for bitcode.
COMPILE.cxx.bc += $(PG_CXXFLAGS)

HEADERS_ALL = $(wildcard src/core/*.hpp src/*.hpp src/*.h)
$(OBJS) $(OBJS:.o=.bc): $(HEADERS_ALL)

# The core alone, without a server.
UNIT_CXXFLAGS = -std=c++20 -O2 -g -Wall -Wextra -Isrc $(WARNINGS)
UNIT_SOURCES = $(wildcard test/unit/*.cpp)
UNIT_HEADERS = $(wildcard test/unit/*.hpp)

test/unit/unit: $(UNIT_SOURCES) $(UNIT_HEADERS) $(HEADERS_ALL)
	$(CXX) $(UNIT_CXXFLAGS) -fsanitize=undefined -fno-sanitize-recover -o $@ $(UNIT_SOURCES) -lgtest -lgtest_main -pthread

test/unit/unit_tsan: $(UNIT_SOURCES) $(UNIT_HEADERS) $(HEADERS_ALL)
	$(CXX) $(UNIT_CXXFLAGS) -fsanitize=thread -o $@ $(UNIT_SOURCES) -lgtest -lgtest_main -pthread

unit: test/unit/unit test/unit/unit_tsan
	test/unit/unit
	test/unit/unit_tsan --gtest_filter='*Threads*'

# The boundary of the core: each header compiles alone, and without a server.
core:
	set -e; for header in src/core/*.hpp; do \
		echo "#include \"$$header\"" | $(CXX) -std=c++20 -fno-exceptions -fno-rtti -Wall -Wextra $(WARNINGS) -I. -fsyntax-only -x c++ -; \
		echo "ok $$header"; \
	done

# Feeds arbitrary bytes to whatever reads text, each fuzzer for this long.
FUZZ_SECONDS = 30

$(FUZZERS): %: %.cpp $(HEADERS_ALL)
	$(CLANG) -std=c++20 -O1 -g -Wall -Wextra -Isrc $(WARNINGS) -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -o $@ $<

fuzz: $(FUZZERS)
	set -e; for fuzzer in $(FUZZERS); do \
		$$fuzzer -max_total_time=$(FUZZ_SECONDS) -max_len=64 -artifact_prefix=$$fuzzer-; \
	done
	@echo fuzz ok

exports: $(shlib)
	test/exports $(shlib)

# An archive of what is committed, for the PostgreSQL Extension Network.
DISTNAME = snowflake-$(shell sed -n '/"provides"/q; s/^ *"version": "\(.*\)",/\1/p' META.json)
DISTDIR = .

dist:
	git archive --format=zip --prefix=$(DISTNAME)/ -o $(DISTDIR)/$(DISTNAME).zip HEAD

.PHONY: core unit fuzz exports dist
