# assent: `make demo` shows it, `make test` proves it, `make help` lists the rest.
#
#   make                 build/release: library, daemons, tools, tests' programs
#   make FLAVOUR=asan    the same in build/asan, with sanitizers and crash points compiled in (also: coverage, sim)
#   make V=1             full command lines          WERROR=0   warnings stay warnings

MAKEFLAGS += --no-builtin-rules --no-builtin-variables
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

CC          ?= gcc
ifeq ($(origin CC),default)
CC          := gcc
endif
AR          := ar
PKG_CONFIG  ?= pkg-config
FLAVOUR     ?= release
BROKER      ?= embedded
PREFIX      ?= /usr/local
DESTDIR     ?=
WERROR      ?= 1
V           ?= 0
VERSION     := $(shell sed -n 's/^\#define ASSENT_VERSION  *"\(.*\)"/\1/p' framework/include/assent/types.h)
SOVERSION   := 0

B   := build/$(FLAVOUR)
GEN := build/gen
Q   := $(if $(filter 1,$(V)),,@)
say  = $(if $(filter 1,$(V)),,@printf '  %-5s %s\n' '$(1)' '$(2)')

# ---- flags -----------------------------------------------------------------------------------------------------------
WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wformat=2 \
            $(if $(filter 1,$(WERROR)),-Werror)
CFLAGS   := -std=c11 -g -fvisibility=hidden -fPIC -ffunction-sections -fdata-sections $(WARNINGS)
LDFLAGS  := -pie -Wl,--gc-sections -Wl,--as-needed -Wl,-z,relro,-z,now
DEFINES  := -D_GNU_SOURCE

ifeq ($(FLAVOUR),release)
CFLAGS   += -O2 -fstack-protector-strong -D_FORTIFY_SOURCE=2
else ifeq ($(FLAVOUR),asan)
CFLAGS   += -O1 -fsanitize=address,undefined -fno-omit-frame-pointer
LDFLAGS  += -fsanitize=address,undefined
DEFINES  += -DASSENT_TEST_SEAMS
else ifeq ($(FLAVOUR),sim)
CFLAGS   += -O2
DEFINES  += -DASSENT_TEST_SEAMS
else ifeq ($(FLAVOUR),coverage)
CFLAGS   += -O0 --coverage
LDFLAGS  += --coverage
DEFINES  += -DASSENT_TEST_SEAMS
else ifeq ($(FLAVOUR),fuzz)
CFLAGS   += -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer \
            -Wno-gnu-statement-expression
LDFLAGS  += -fsanitize=fuzzer,address,undefined
else
$(error FLAVOUR=$(FLAVOUR): there are release, asan, sim, coverage and fuzz)
endif

PACKAGES := rdkafka avro-c uuid sqlite3 jansson libcrypto libmicrohttpd libcurl hiredis
comma    := ,
present   = $(foreach package,$(1),$(shell $(PKG_CONFIG) --exists $(package) 2>/dev/null && echo $(package)))
flags_of  = $(if $(filter $(FOUND),$(2)),$(shell $(PKG_CONFIG) $(1) $(filter $(FOUND),$(2))))
FOUND    := $(call present,$(PACKAGES) criterion)
LIBS     := $(call flags_of,--libs,$(PACKAGES)) -lpthread -lm
# Criterion finds its tests in a section that nothing refers to.
CRITERION := -Wl,--no-gc-sections $(call flags_of,--libs,criterion)

# Daemons and tools see what a user of the library sees; the framework and its tests see the inside as well.
OUTSIDE  := -Iframework/include -I$(GEN) $(call flags_of,--cflags,sqlite3 jansson avro-c hiredis)
INSIDE   := -Iframework -Iframework/include -I$(GEN) $(call flags_of,--cflags,$(filter-out hiredis,$(PACKAGES)))

# ---- what there is to build ------------------------------------------------------------------------------------------
object    = $(patsubst %.c,$(B)/obj/%.o,$(1))
folders   = $(sort $(patsubst %/,%,$(dir $(wildcard $(1)/*/*.c))))

SCHEMAS  := $(patsubst schemas/%,$(GEN)/%.inc,$(wildcard schemas/*.avsc))
DOCUMENTS := $(patsubst consumers/%,$(GEN)/%.inc,$(wildcard consumers/*/*.json))
LIBRARY  := $(filter-out framework/devbroker/%,$(wildcard framework/*/*.c))
DEVBROKER := $(wildcard framework/devbroker/*.c)
CONSUMERS := $(notdir $(call folders,consumers))
PRODUCERS := $(notdir $(call folders,producers))

STATIC   := $(B)/libassent.a
SHARED   := $(B)/libassent.so.$(VERSION)
DAEMONS  := $(CONSUMERS:%=$(B)/bin/assent-%)
TOOLS    := $(patsubst $(B)/bin/assent-ctl,$(B)/bin/assentctl,$(PRODUCERS:%=$(B)/bin/assent-%))
EMBEDDED := $(if $(DEVBROKER),$(B)/bin/assent-devbroker)
PROGRAMS := $(DAEMONS) $(TOOLS) $(EMBEDDED)

UNIT     := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(wildcard tests/unit/*.c))
CONTRACT := $(patsubst tests/contract/%.c,$(B)/tests/contract/%,$(wildcard tests/contract/*.c))
HELPERS  := $(patsubst tests/lib/%.c,$(B)/tests/%,$(wildcard tests/lib/*.c))
BENCH    := $(patsubst tests/bench/%.c,$(B)/tests/%,$(wildcard tests/bench/*.c))
FUZZERS  := $(patsubst tests/fuzz/fuzz_%.c,$(B)/tests/fuzz_%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_LIB := $(filter-out tests/fuzz/fuzz_%,$(wildcard tests/fuzz/*.c))
# The simulator takes the place of the broker, the disks and the clock by having the linker wrap what the framework calls. Its
# first four files alone also stand behind the contract suites.
SIM_LIB  := $(addprefix tests/sim/,world.c kafka.c kafka_group.c disk.c)
SIM_DISK := tests/sim/disk_test.c
SIM      := $(filter-out $(SIM_LIB) $(SIM_DISK),$(wildcard tests/sim/*.c)) tests/fuzz/lane_model.c
SIM_WRAP := $(addprefix -Wl$(comma)--wrap=,assent_bus_kafka_open assent_topics_check assent_crash_point assent_log_write \
            assent_log_enabled usleep getrandom)
MATRIX_WRAP := $(addprefix -Wl$(comma)--wrap=,assent_participant_open assent_participant_step assent_send \
            assent_codec_open assent_codec_close)
SIM_CONTRACT := $(patsubst tests/contract/%.c,$(B)/tests/contract-sim/%,\
            $(addprefix tests/contract/,bus_records.c bus_positions.c store_rows.c store_guard.c))
TESTS    := $(UNIT) $(CONTRACT) $(HELPERS) $(BENCH)

SOURCES  := $(LIBRARY) $(DEVBROKER) $(wildcard consumers/*/*.c producers/*/*.c tests/unit/*.c tests/contract/*.c tests/lib/*.c \
            tests/bench/*.c tests/fuzz/*.c tests/sim/*.c)

# ---- targets ---------------------------------------------------------------------------------------------------------
.PHONY: all library programs tests benches fuzzers simulator deps test check demo up down bench fuzz model sim chaos coverage install clean format help

all: library programs tests
library: $(STATIC) $(if $(filter release,$(FLAVOUR)),$(B)/libassent.so)
programs: $(PROGRAMS)
tests: $(TESTS)
benches: $(BENCH)
fuzzers: $(FUZZERS)
simulator: $(B)/tests/simulator $(SIM_CONTRACT) $(B)/tests/contract-sim/disk

help:
	@echo 'assent: atomic commit over Kafka topics'
	@echo
	@echo '  make           build everything into build/release (FLAVOUR=asan|coverage: build/asan, build/coverage)'
	@echo '  make demo      install what is missing, build, and watch transactions commit, abort and survive kill -9'
	@echo '                 BROKER=embedded (default), kafka (a real one, from Maven), or host:port (yours)'
	@echo '  make test      everything: unit, sanitizers, contract, end to end (embedded and real Kafka), tidy'
	@echo '  make check     the quick half: unit tests and tidy checks, no broker'
	@echo '  make up, down  leave the pipeline running on a real Kafka; stop it'
	@echo '  make bench     what commits cost on a real Kafka, beside a raw relay (20 minutes; QUICK=1: 4; ONLY=list: the parts)'
	@echo '  make sim       1000 simulated worlds, each with its own faults (SEEDS=100000: more; SEED=7: that one, told)'
	@echo '  make chaos     three real brokers, services and their network fail for SECONDS=60 (SEED=7: as then), then the audit'
	@echo '  make fuzz      every fuzz target for SECONDS=60, two at a time on two cores, or TARGET=decode alone'
	@echo '  make model     the rules as a Promela model, searched by spin (some minutes, up to 7 GB; SET=long: an hour)'
	@echo '  make deps      install missing packages (Debian, Ubuntu), with sudo if not root'
	@echo '  make install   DESTDIR= PREFIX=$(PREFIX): headers, libraries, assent.pc, programs'
	@echo '  make coverage  which lines of the framework the unit tests reach'
	@echo '  make format    clang-format on all C files'
	@echo '  make clean     remove build/'
	@echo
	@echo '  V=1 full command lines; WERROR=0 lets warnings pass; -j builds in parallel'

deps:
	$(Q)tests/lib/install.sh build test

# The libraries' flags are read when make starts, so what follows an installation is a make of its own.
test:
	+$(Q)MAKE='$(MAKE)' tests/run.sh all

check:
	+$(Q)MAKE='$(MAKE)' tests/run.sh quick

demo:
	$(Q)tests/lib/install.sh build $(if $(filter kafka,$(BROKER)),kafka)
	+$(Q)$(MAKE) --no-print-directory library programs
	$(Q)BROKER='$(BROKER)' ASSENT_BUILD='$(CURDIR)/$(B)' producers/demo/demo.sh

up:
	$(Q)tests/lib/install.sh build kafka
	+$(Q)$(MAKE) --no-print-directory library programs
	$(Q)ASSENT_BUILD='$(CURDIR)/$(B)' producers/demo/up.sh up

down:
	$(Q)ASSENT_BUILD='$(CURDIR)/$(B)' producers/demo/up.sh down

bench:
	$(Q)tests/lib/install.sh build kafka
	+$(Q)$(MAKE) --no-print-directory library programs benches
	$(Q)ASSENT_BUILD='$(CURDIR)/$(B)' tests/bench/bench.py

fuzz:
	$(Q)tests/lib/install.sh build test
	+$(Q)$(MAKE) --no-print-directory FLAVOUR=fuzz CC=clang fuzzers
	$(Q)tests/fuzz/fuzz.sh new '$(or $(SECONDS),60)' $(TARGET)

sim:
	$(Q)tests/lib/install.sh build test
	+$(Q)$(MAKE) --no-print-directory FLAVOUR=sim build/sim/tests/simulator
	$(Q)build/sim/tests/simulator $(if $(SEED),--narrate --seed $(SEED),--seeds $(or $(SEEDS),1000))

chaos:
	$(Q)tests/lib/install.sh build kafka chaos
	$(Q)tests/broker/kafka.sh install >/dev/null
	+$(Q)$(MAKE) --no-print-directory library programs
	$(Q)SECONDS='$(or $(SECONDS),60)' SEED='$(or $(SEED),0)' ASSENT_BUILD='$(CURDIR)/$(B)' tests/chaos/chaos.py

model:
	$(Q)tests/lib/install.sh build test
	$(Q)tests/model/check.sh $(or $(SET),all)

coverage:
	+$(Q)$(MAKE) --no-print-directory FLAVOUR=coverage tests
	$(Q)tests/lib/coverage.sh

install: library programs
	$(call say,INST,$(DESTDIR)$(PREFIX))
	$(Q)install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/include/assent' '$(DESTDIR)$(PREFIX)/lib/pkgconfig'
	$(Q)install -m 644 framework/include/assent/*.h '$(DESTDIR)$(PREFIX)/include/assent/'
	$(Q)install -m 644 $(STATIC) '$(DESTDIR)$(PREFIX)/lib/'
	$(Q)install -m 755 $(SHARED) '$(DESTDIR)$(PREFIX)/lib/'
	$(Q)ln -sf libassent.so.$(VERSION) '$(DESTDIR)$(PREFIX)/lib/libassent.so.$(SOVERSION)'
	$(Q)ln -sf libassent.so.$(SOVERSION) '$(DESTDIR)$(PREFIX)/lib/libassent.so'
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' framework/assent.pc.in \
	        > '$(DESTDIR)$(PREFIX)/lib/pkgconfig/assent.pc'
	$(Q)$(if $(PROGRAMS),install -m 755 $(PROGRAMS) '$(DESTDIR)$(PREFIX)/bin/')

clean:
	$(call say,RM,build)
	$(Q)rm -rf build

format:
	$(Q)clang-format -i $(SOURCES) $(wildcard framework/*/*.h framework/include/assent/*.h consumers/*/*.h producers/*/*.h \
	        tests/*/*.h)

# ---- rules -----------------------------------------------------------------------------------------------------------
# The flags and the list of the library's objects are kept in files that change only when they do: what was built with
# other flags, or holds an object whose source is gone, is built again.
keep = $(if $(filter-out $(subst $() ,|,$(strip $(file <$(1)))),$(subst $() ,|,$(strip $(2)))),$(shell mkdir -p $(dir $(1)))$(file >$(1),$(strip $(2))))

# (-Werror changes no object.)
BUILT_WITH := $(CC) $(filter-out -Werror,$(CFLAGS)) $(DEFINES) $(INSIDE) $(LDFLAGS) $(LIBS)
ifneq ($(filter-out clean help deps format down demo up bench fuzz model sim chaos test check coverage,$(or $(MAKECMDGOALS),all)),)
$(call keep,$(B)/flags,$(BUILT_WITH))
$(call keep,$(B)/objects,$(call object,$(LIBRARY)))
MISSING := $(filter-out $(FOUND),$(PACKAGES) $(if $(filter all tests,$(or $(MAKECMDGOALS),all)),criterion))
ifneq ($(MISSING),)
$(warning not found by $(PKG_CONFIG): $(MISSING). `make deps` installs what is missing)
endif
endif
$(B)/flags $(B)/objects:
	@mkdir -p $(@D)
	$(file >$(B)/flags,$(strip $(BUILT_WITH)))$(file >$(B)/objects,$(strip $(call object,$(LIBRARY))))@:

$(B)/obj/framework/%.o: PATHS := $(INSIDE)
$(B)/obj/tests/%.o:     PATHS := $(INSIDE) -Itests $(call flags_of,--cflags,criterion)
$(B)/obj/consumers/%.o: PATHS := $(OUTSIDE)
$(B)/obj/producers/%.o: PATHS := $(OUTSIDE)

$(call object,$(SOURCES)): $(B)/obj/%.o: %.c $(B)/flags | $(SCHEMAS) $(DOCUMENTS)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(DEFINES) $(PATHS) -MMD -MP -c -o $@ $<

# A schema or a document as C: every line a string literal, in the order of the file.
$(SCHEMAS): $(GEN)/%.avsc.inc: schemas/%.avsc
$(DOCUMENTS): $(GEN)/%.json.inc: consumers/%.json
$(SCHEMAS) $(DOCUMENTS):
	$(call say,GEN,$@)
	@mkdir -p $(@D)
	$(Q)sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/"/' -e 's/$$/\\n"/' $< > $@

$(STATIC): $(call object,$(LIBRARY)) $(B)/objects
	$(call say,AR,$@)
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $(filter %.o,$^)

$(SHARED): $(call object,$(LIBRARY)) $(B)/objects
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) -shared -Wl,-soname,libassent.so.$(SOVERSION) -Wl,-z,defs $(filter-out -pie,$(LDFLAGS)) \
	        -o $@ $(filter %.o,$^) $(LIBS)

$(B)/libassent.so: $(SHARED)
	$(Q)ln -sf $(notdir $(SHARED)) $(B)/libassent.so.$(SOVERSION)
	$(Q)ln -sf libassent.so.$(SOVERSION) $@

link = $(Q)mkdir -p $(@D) && $(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(STATIC) $(1) $(LIBS)

# $(1) the program's file, $(2) the folder of its sources
define program
$(1): $(call object,$(wildcard $(2)/*.c)) $(STATIC)
	$$(call say,LD,$$@)
	$$(call link)
endef
$(foreach name,$(CONSUMERS),$(eval $(call program,$(B)/bin/assent-$(name),consumers/$(name))))
$(foreach name,$(filter-out ctl,$(PRODUCERS)),$(eval $(call program,$(B)/bin/assent-$(name),producers/$(name))))
$(if $(filter ctl,$(PRODUCERS)),$(eval $(call program,$(B)/bin/assentctl,producers/ctl)))
# The load generator ends with the audit, so it holds all of that program but its main.
$(B)/bin/assent-load: $(call object,$(filter-out %/main.c,$(wildcard producers/audit/*.c)))
$(if $(DEVBROKER),$(eval $(call program,$(B)/bin/assent-devbroker,framework/devbroker)))

$(UNIT): $(B)/tests/unit/%: $(B)/obj/tests/unit/%.o $(STATIC)
	$(call say,LD,$@)
	$(call link,$(CRITERION))

$(CONTRACT): $(B)/tests/contract/%: $(B)/obj/tests/contract/%.o $(STATIC)
	$(call say,LD,$@)
	$(call link,$(CRITERION))

$(FUZZERS): $(B)/tests/%: $(B)/obj/tests/fuzz/%.o $(call object,$(FUZZ_LIB)) $(STATIC)
	$(call say,LD,$@)
	$(call link)

$(HELPERS): $(B)/tests/%: $(B)/obj/tests/lib/%.o $(STATIC)
	$(call say,LD,$@)
	$(call link)

$(BENCH): $(B)/tests/%: $(B)/obj/tests/bench/%.o $(STATIC)
	$(call say,LD,$@)
	$(call link)
# The idle participant again. What a program has itself is not taken from the library: the store.
$(B)/tests/forgetful: $(B)/obj/tests/bench/idle.o

# The names of all crash points, as the source has them.
$(GEN)/crash_points.inc: $(LIBRARY)
	$(call say,GEN,$@)
	@mkdir -p $(@D)
	$(Q)sed -n 's/.*ASSENT_CRASH_POINT(\([a-z_]*\)).*/X(\1)/p' $^ | LC_ALL=C sort -u > $@
$(B)/obj/tests/sim/matrix.o: $(GEN)/crash_points.inc

$(B)/tests/simulator: $(call object,$(SIM_LIB) $(SIM)) $(STATIC)
	$(call say,LD,$@)
	$(call link,$(SIM_WRAP) $(MATRIX_WRAP))

$(B)/tests/contract-sim/disk: $(call object,$(SIM_DISK) $(SIM_LIB)) $(STATIC)
	$(call say,LD,$@)
	$(call link,$(SIM_WRAP) $(CRITERION))

$(B)/obj/contract-sim/%.o: tests/contract/%.c $(B)/flags | $(SCHEMAS)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(DEFINES) -DCONTRACT_SIM $(INSIDE) -Itests $(call flags_of,--cflags,criterion) -MMD -MP -c -o $@ $<

$(SIM_CONTRACT): $(B)/tests/contract-sim/%: $(B)/obj/contract-sim/%.o $(call object,$(SIM_LIB)) $(STATIC)
	$(call say,LD,$@)
	$(call link,$(SIM_WRAP) $(CRITERION))

-include $(patsubst %.o,%.d,$(call object,$(SOURCES))) $(wildcard $(B)/obj/contract-sim/*.d)
