# SPDX-License-Identifier: GPL-2.0-or-later
#
# The whole build, in one file.  `make help` lists the targets.
#
# A folder's own *.c make one library; programs and tests link the libraries.
# Each folder sees only the headers it may include (docs/architecture.md), so an
# include in the wrong direction does not compile.
#
#   O=DIR          where everything is built (build)
#   SAN=LIST       build with -fsanitize=LIST, e.g. address,undefined
#   V=1            print whole commands
#   WERROR=1       warnings are errors
#   TARGET, TIME   what to fuzz (make fuzz), and for how many seconds
#   FAULT=1        build in the steps at which a test may let it die
#   WITH_DASHBOARD=0|1  without the dashboard; not without it (with it where npm gets
#                  its chart library)
#   PREFIX, DESTDIR for install

O       ?= build
TIME    ?= 30
PREFIX  ?= /usr/local
OPT     ?= -O2 -g
CC      ?= cc
CLANG   ?= clang
VERSION := 0.1.0

# One short line a command, or with V=1 the command.
quiet := $(findstring s,$(firstword -$(MAKEFLAGS)))
say = $(if $(V),,@$(if $(quiet),,printf '  %-3s %s\n' $1 '$@'; ))

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

# gcc warns that TSan does not model fences.  Ours only order a store before a load for kick and
# interrupt suppression; data always goes by acquire and release, which it models.
WARN := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
        -Wvla -Wformat=2 -Wundef $(if $(WERROR),-Werror) \
        $(if $(findstring clang,$(CC)),,$(if $(findstring thread,$(SAN)),-Wno-tsan))
BASE := -std=gnu11 -fno-strict-aliasing -fstack-protector-strong -pthread \
        $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=undefined,-D_FORTIFY_SOURCE=2) \
        $(if $(COVERAGE),--coverage) $(if $(FAULT),-DTMEM_FAULT_POINTS)
ALL_CFLAGS  = $(OPT) $(BASE) $(WARN) -D_GNU_SOURCE -DTMEM_VERSION='"$(VERSION)"' $(CFLAGS)
# All symbols are looked up at the start: later may be when there is no memory for it.
ALL_LDFLAGS = $(BASE) -Wl,-z,relro,-z,now $(LDFLAGS)

# Who may include whom.
INC_protocol       :=
INC_tmem-core      :=
INC_hv-backend     := -Iprotocol -Itmem-core -Ihv-backend
INC_guest-frontend := -Iprotocol -Iguest-frontend/lib
INC_ci             := -Iprotocol -Itmem-core -Ihv-backend -Iguest-frontend/lib -Ici
# Tests and fuzz targets may look everywhere.
inc = $(if $(findstring /test/,$1)$(findstring /fuzz/,$1),$(INC_ci),$(INC_$(firstword $(subst /, ,$1))))

objs = $(patsubst %.c,$(O)/obj/%.o,$1)

PROTO_SRC := $(wildcard protocol/*.c)
CORE_SRC  := $(wildcard tmem-core/*.c)
HV_SRC    := $(filter-out hv-backend/tmemd.c,$(wildcard hv-backend/*.c))
CTL_SRC   := $(wildcard hv-backend/tmemctl/*.c)
KEEPER_SRC := $(wildcard hv-backend/keeper/*.c)
FRONT_SRC := $(wildcard guest-frontend/lib/*.c)
# Where libvirt's headers are, what speaks with it is built too.
LIBVIRT   := $(shell pkg-config --exists libvirt libxml-2.0 2>/dev/null && echo yes)
VIRT_DIR  := hv-backend/libvirt
VIRT_SRC  := $(if $(LIBVIRT),$(wildcard $(VIRT_DIR)/*.c))
# What of it, and of tmemctl, needs no libvirt.
HOOK_OBJ   = $(call objs,$(addprefix $(VIRT_DIR)/,announce.c domain.c metadata.c) \
             hv-backend/tmemctl/client.c hv-backend/tmemctl/complain.c)
BENCH_SRC := $(wildcard ci/bench/*.c)
TEST_SRC  := $(wildcard protocol/test/test_*.c tmem-core/test/test_*.c hv-backend/test/test_*.c guest-frontend/lib/test/test_*.c)
# Files beside the tests that several of them link.
TESTLIB_SRC := $(filter-out $(TEST_SRC),$(wildcard protocol/test/*.c tmem-core/test/*.c hv-backend/test/*.c guest-frontend/lib/test/*.c))
CAMPAIGN_SRC := $(wildcard hv-backend/fuzz/campaign/*.c)
FUZZ_SRC  := $(wildcard protocol/fuzz/fuzz_*.c tmem-core/fuzz/fuzz_*.c hv-backend/fuzz/fuzz_*.c)
FUZZ_SRC  += $(if $(LIBVIRT),$(wildcard $(VIRT_DIR)/fuzz/fuzz_*.c))
# Files beside the fuzz targets that several of them link.
FUZZLIB_SRC := $(filter-out $(FUZZ_SRC),$(wildcard hv-backend/fuzz/*.c))

LIB_PROTO := $(O)/libtmemp.a
LIB_CORE  := $(O)/libtmem.a
LIB_HV    := $(O)/libhv.a
LIB_FRONT := $(O)/libtmemfront.a
LIB_TEST  := $(O)/libtest.a
LIB_FUZZ  := $(O)/libfuzz.a

CORE_LIBS  := -llzo2 -llz4 -lzstd -lxxhash
HV_LIBS    := -ljansson -linih -lmicrohttpd -lseccomp -lcap-ng -lsystemd
CTL_LIBS   := -ljansson -lsmartcols
TEST_LIBS  := -lcmocka
HOOK_LIBS  := -ljansson -linih -lxml2

TESTS := $(patsubst %.c,$(O)/test/%,$(notdir $(TEST_SRC)))
FUZZ  := $(patsubst %.c,$(O)/fuzz/%,$(notdir $(FUZZ_SRC)))
MAN      := $(patsubst docs/man/%.scd,%,$(wildcard docs/man/*.scd))
PROGRAMS := $(if $(wildcard hv-backend/tmemd.c),$(O)/tmemd) \
            $(O)/tmem-keeper $(if $(CTL_SRC),$(O)/tmemctl) \
            $(if $(VIRT_SRC),$(O)/tmemd-libvirt $(O)/tmemd-qemu-hook) \
            $(if $(BENCH_SRC),$(O)/tmem-bench)

.PHONY: all programs man tests help setup check check-fast check-units check-dashboard check-guests check-crash check-asan \
        check-libvirt check-tsan fuzz fuzz-smoke lint coverage demo bench install \
        install-libvirt install-guest uninstall clean

all: programs man ## build tmemd, tmem-keeper, tmemctl, tmem-bench; with libvirt-dev, what needs it; man pages
programs: $(PROGRAMS)
man: $(addprefix $(O)/man/,$(MAN))
tests: $(TESTS) $(O)/campaign ## build the unit and integration tests

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | sort | expand -t 16

$(O)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(call inc,$<) $(if $(findstring $(VIRT_DIR)/,$<),-isystem /usr/include/libxml2) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(O)/man/%: docs/man/%.scd Makefile
	@mkdir -p $(@D)
	$(call say,MAN)sed 's/@VERSION@/$(VERSION)/' $< | scdoc > $@

# The dashboard's files are part of the program.
$(O)/dashboard/files.c: $(wildcard hv-backend/dashboard/*) $(O)/dashboard/with-$(WITH_DASHBOARD)
	$(call say,NPM)hv-backend/dashboard/embed $@ $(WITH_DASHBOARD)
$(O)/dashboard/with-$(WITH_DASHBOARD):
	@mkdir -p $(@D) && rm -f $(@D)/with-* && touch $@
$(O)/dashboard/files.o: $(O)/dashboard/files.c hv-backend/web_files.h
	$(call say,CC)$(CC) $(INC_hv-backend) $(ALL_CFLAGS) -c -o $@ $<

# The system calls that the daemon's sources name: confine.c allows no others.
CALLERS := $(HV_SRC) hv-backend/tmemd.c $(CORE_SRC)
$(O)/gen/syscalls.inc: hv-backend/syscalls.sh $(CALLERS)
	@mkdir -p $(@D)
	$(call say,GEN)hv-backend/syscalls.sh $(CALLERS) > $@
$(O)/obj/hv-backend/confine.o: $(O)/gen/syscalls.inc
$(O)/obj/hv-backend/confine.o: private CFLAGS += -I$(O)/gen

define archive
@rm -f $@
$(call say,AR)$(AR) crs $@ $^
endef

$(LIB_PROTO): $(call objs,$(PROTO_SRC))
	$(archive)
$(LIB_CORE): $(call objs,$(CORE_SRC))
	$(archive)
$(LIB_HV): $(call objs,$(HV_SRC)) $(O)/dashboard/files.o
	$(archive)
$(LIB_FRONT): $(call objs,$(FRONT_SRC))
	$(archive)
$(LIB_TEST): $(call objs,$(TESTLIB_SRC))
	$(archive)
$(LIB_FUZZ): $(call objs,$(FUZZLIB_SRC))
	$(archive)

$(O)/tmemd: $(O)/obj/hv-backend/tmemd.o $(LIB_HV) $(LIB_CORE) $(LIB_PROTO)
	$(call say,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(CORE_LIBS) $(HV_LIBS)
$(O)/tmem-keeper: $(call objs,$(KEEPER_SRC))
	$(call say,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^
$(O)/tmemctl: $(call objs,$(CTL_SRC)) $(LIB_HV)
	$(call say,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(CTL_LIBS)
$(O)/tmemd-qemu-hook: $(O)/obj/$(VIRT_DIR)/hook.o $(HOOK_OBJ) $(LIB_HV)
	$(call say,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(HOOK_LIBS)
$(O)/tmemd-libvirt: $(call objs,$(addprefix $(VIRT_DIR)/,virt.c watch.c device.c set.c) hv-backend/tmemctl/drain.c) \
                    $(HOOK_OBJ) $(LIB_HV)
	$(call say,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(HOOK_LIBS) -lvirt
$(O)/obj/$(VIRT_DIR)/metadata.o: $(VIRT_DIR)/tmem.rng
$(O)/tmem-bench: $(call objs,$(BENCH_SRC)) $(LIB_FRONT) $(LIB_CORE) $(LIB_PROTO)
	$(call say,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(CORE_LIBS) -ljansson

# One rule a test, so that each finds its source in its own folder.
define test_rule
$(O)/test/$(notdir $(basename $1)): $(call objs,$1) $(LIB_TEST) $(LIB_FRONT) $(LIB_HV) $(LIB_CORE) $(LIB_PROTO)
	@mkdir -p $$(@D)
	$$(call say,LD)$$(CC) $$(ALL_LDFLAGS) -o $$@ $$(filter %.o,$$^) $(LIB_TEST) $(LIB_FRONT) $(LIB_HV) $(LIB_CORE) $(LIB_PROTO) $(CORE_LIBS) $(HV_LIBS) $(TEST_LIBS)
endef
$(foreach t,$(TEST_SRC),$(eval $(call test_rule,$t)))

# What a test puts between a daemon and its C library.
$(O)/test/bad_libc.so: hv-backend/test/preload/bad_libc.c hv-backend/test/preload/bad_libc.h
	@mkdir -p $(@D)
	$(call say,LD)$(CC) $(OPT) -std=gnu11 $(WARN) -D_GNU_SOURCE -fPIC -shared -fno-builtin -o $@ $<
tests: $(O)/test/bad_libc.so

# Fuzz targets are built with clang in a tree of their own: make fuzz.
define fuzz_rule
$(O)/fuzz/$(notdir $(basename $1)): $(call objs,$1) $(if $(findstring $(VIRT_DIR)/,$1),$(HOOK_OBJ)) $(LIB_FUZZ) $(LIB_FRONT) $(LIB_HV) $(LIB_CORE) $(LIB_PROTO)
	@mkdir -p $$(@D)
	$$(call say,LD)$$(CC) $$(ALL_LDFLAGS) -fsanitize=fuzzer -o $$@ $$(filter %.o,$$^) $(LIB_FUZZ) $(LIB_FRONT) $(LIB_HV) $(LIB_CORE) $(LIB_PROTO) $(CORE_LIBS) $(HV_LIBS) $(if $(findstring $(VIRT_DIR)/,$1),$(HOOK_LIBS))
endef
$(foreach f,$(FUZZ_SRC),$(eval $(call fuzz_rule,$f)))
.PHONY: fuzz-programs
fuzz-programs: $(FUZZ)

# Hostile guests beside honest ones: no libFuzzer, but a daemon of the same build.
$(O)/campaign: $(call objs,$(CAMPAIGN_SRC)) $(LIB_TEST) $(LIB_FRONT) $(LIB_PROTO)
	$(call say,LD)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(HV_LIBS)

# ---- checks -------------------------------------------------------------

setup: ## install the packages everything here needs (root, Debian 12)
	@ci/setup

check: setup ## set up, build, run the tests that fit in 30 minutes
	@ci/check

check-units: programs tests
	@ci/run-tests $(O)

check-fast: check-units ## unit and integration tests, no guests, under a minute

check-guests: setup programs ## every guest test there is
	@ci/check-guests

check-dashboard: ## the dashboard in a real browser
	@ci/setup dashboard
	@$(MAKE) --no-print-directory programs WITH_DASHBOARD=1
	@ci/check-dashboard $(O)

check-libvirt: setup programs ## domains of a real libvirtd, from define to undefine
	@ci/check-libvirt

check-crash: setup ## kill tmemd under guests of every kind; KILLS=N for how often
	@$(MAKE) --no-print-directory O=$(O)/fault FAULT=1 programs tests
	@ci/check-crash $(O)/fault

check-asan: setup ## the suite under AddressSanitizer and UBSan
	@$(MAKE) --no-print-directory O=$(O)/asan SAN=address,undefined OPT='-O1 -g' check-units

check-tsan: setup ## the suite under ThreadSanitizer
	@$(MAKE) --no-print-directory O=$(O)/tsan SAN=thread OPT='-O1 -g' check-units

fuzz: ## build the fuzz targets with clang; TARGET=NAME TIME=SECONDS runs one, or campaign
ifeq ($(TARGET),campaign)
	@$(MAKE) --no-print-directory O=$(O)/asan SAN=address,undefined OPT='-O1 -g' $(O)/asan/tmemd $(O)/asan/campaign
	@TMEM_BUILD=$(O)/asan $(O)/asan/campaign --seconds $(TIME)
else
	@$(MAKE) --no-print-directory O=$(O)/fuzz-tree CC=$(CLANG) SAN=address,undefined,fuzzer-no-link OPT='-O1 -g' fuzz-programs
	$(if $(TARGET),@TMEM_FUZZ_SECONDS=$(TIME) ci/fuzz-smoke $(O)/fuzz-tree/fuzz fuzz_$(TARGET))
endif

fuzz-smoke: setup fuzz ## each fuzz target for a few seconds on its corpus
	@ci/fuzz-smoke $(O)/fuzz-tree/fuzz

lint: setup ## warnings with gcc and clang, cppcheck, clang-tidy, includes, man pages, shellcheck
	@ci/lint

coverage: setup ## line coverage of tmem-core by its tests
	@ci/coverage

demo: ## two real guests swap into this host, beside the same work without tmem
	@ci/setup demo
	@$(MAKE) --no-print-directory programs
	@ci/demo

bench: setup programs ## the figures of docs/performance.md
	@ci/bench-all

SYSTEMD = $(DESTDIR)$(PREFIX)/lib/systemd

install: programs man ## to $(DESTDIR)$(PREFIX), and a first /etc/tmemd/tmemd.conf
	install -Dm755 $(O)/tmemd $(DESTDIR)$(PREFIX)/sbin/tmemd
	install -Dm755 $(O)/tmem-keeper $(DESTDIR)$(PREFIX)/sbin/tmem-keeper
	install -Dm755 $(O)/tmemctl $(DESTDIR)$(PREFIX)/bin/tmemctl
	install -Dm644 hv-backend/tmemd.conf $(DESTDIR)$(PREFIX)/share/doc/tmemd/tmemd.conf
	[ -e $(DESTDIR)/etc/tmemd/tmemd.conf ] || install -Dm644 hv-backend/tmemd.conf $(DESTDIR)/etc/tmemd/tmemd.conf
	install -d $(SYSTEMD)/system
	sed 's|@SBINDIR@|$(PREFIX)/sbin|' hv-backend/systemd/tmemd.service.in >$(SYSTEMD)/system/tmemd.service
	install -Dm644 hv-backend/systemd/tmemd.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/tmemd.conf
	install -Dm644 hv-backend/systemd/tmemd.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/tmemd.conf
	install -Dm644 hv-backend/tmemctl/completion.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/tmemctl
	for m in $(MAN); do install -Dm644 $(O)/man/$$m $(DESTDIR)$(PREFIX)/share/man/man$${m##*.}/$$m || exit; done

install-libvirt: programs ## what follows libvirt's domains, and libvirt's hook
	install -Dm755 $(O)/tmemd-libvirt $(DESTDIR)$(PREFIX)/sbin/tmemd-libvirt
	install -Dm755 $(O)/tmemd-qemu-hook $(DESTDIR)/etc/libvirt/hooks/qemu.d/tmemd
	install -d $(SYSTEMD)/system
	sed 's|@SBINDIR@|$(PREFIX)/sbin|' hv-backend/systemd/tmemd-libvirt.service.in >$(SYSTEMD)/system/tmemd-libvirt.service
	install -Dm644 hv-backend/systemd/tmemd-guest-group.conf $(SYSTEMD)/system/tmemd.service.d/guest-group.conf
	install -Dm644 $(VIRT_DIR)/tmem.rng $(DESTDIR)$(PREFIX)/share/tmemd/tmem.rng

# dkms looks nowhere else, whatever PREFIX is.
GUEST_SRC = $(DESTDIR)/usr/src/tmem-$(VERSION)

install-guest: ## the guest module's sources, for dkms, to $(DESTDIR)/usr/src, and its unit
	install -d $(GUEST_SRC)/guest-frontend/linux/compat $(GUEST_SRC)/protocol
	install -m644 guest-frontend/linux/*.[ch] guest-frontend/linux/Kbuild $(GUEST_SRC)/guest-frontend/linux
	install -m644 guest-frontend/linux/compat/*.h $(GUEST_SRC)/guest-frontend/linux/compat
	install -m644 protocol/tmemp.h protocol/tmemp_ivshmem.h $(GUEST_SRC)/protocol
	install -m644 guest-frontend/linux/dkms.conf $(GUEST_SRC)
	install -Dm644 -t $(DESTDIR)/usr/lib/systemd/system guest-frontend/systemd/tmem-swap@.service
	install -Dm644 -t $(DESTDIR)/usr/lib/modprobe.d guest-frontend/systemd/tmem.conf

uninstall: ## what install and install-libvirt put there, but /etc/tmemd
	rm -f $(DESTDIR)$(PREFIX)/sbin/tmemd $(DESTDIR)$(PREFIX)/sbin/tmem-keeper $(DESTDIR)$(PREFIX)/bin/tmemctl
	rm -f $(DESTDIR)$(PREFIX)/share/bash-completion/completions/tmemctl
	rm -rf $(DESTDIR)$(PREFIX)/share/doc/tmemd $(DESTDIR)$(PREFIX)/share/tmemd $(SYSTEMD)/system/tmemd.service.d
	rm -f $(DESTDIR)$(PREFIX)/sbin/tmemd-libvirt $(DESTDIR)/etc/libvirt/hooks/qemu.d/tmemd
	rm -f $(SYSTEMD)/system/tmemd-libvirt.service
	rm -f $(SYSTEMD)/system/tmemd.service $(DESTDIR)$(PREFIX)/lib/sysusers.d/tmemd.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/tmemd.conf
	for m in $(MAN); do rm -f $(DESTDIR)$(PREFIX)/share/man/man$${m##*.}/$$m; done

clean: ## remove the build
	rm -rf $(O)

-include $(shell find $(O)/obj -name '*.d' 2>/dev/null)
