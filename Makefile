# Everything here needs Go 1.26 or later, make and nothing else.

GO       ?= go
BENCH    ?= .
FUZZTIME ?= 60s
SECONDS  ?= 60
KILLS    ?= 20
OUTAGES  ?= 50
CUTS     ?= 200000
SEED     ?= 1
OVERLOAD ?= 60s
COUNT    ?= 1
ONLY     ?=
APPENDS  ?= 1000000
KEYS     ?= 1000000
PAIRS    ?= 200
TIMES    ?= 1
MINUTES  ?= 20
MODULE   ?=

# The labs' tests in kvserver, which has others too.
KVLABS = 3A|3B|Versioned|LostAnswer

# staticcheck is pinned in a module file of its own, so that it and what it needs
# are no dependency of the program.
STATICCHECK = $(GO) tool -modfile=.ci/tools/go.mod staticcheck

# These run without the race detector: the simulator is one thread, what the
# system tests watch are processes, and tests/memory damages memory behind the
# back of those who read it. ALONE are whole nodes in one process, which
# keep time with disks: nothing else runs beside them.
PLAIN = ./tests/memory ./tests/sim ./tests/system
ALONE = ./cmd/raftkv

.PHONY: observe-test help build run test lint bench fuzz sim kills exactly-once labs labs-realtime labs-race mutants overload crash damage restart metrics-cost powercut rejoin nemesis faults rename clean

help:
	@echo 'make run               a durable cluster of three nodes in this terminal (ARGS="--fresh")'
	@echo 'make build             bin/raftkv'
	@echo 'make test              every test, with the race detector where it can find something'
	@echo 'make lint              gofmt, go vet, staticcheck'
	@echo 'make bench             every benchmark (BENCH=Pattern)'
	@echo 'make fuzz              every fuzz target for FUZZTIME=60s'
	@echo 'make sim               fresh simulator seeds for SECONDS=60 (docs/testing.md)'
	@echo 'make kills             kill KILLS=20 leaders and OUTAGES=50 times all nodes, under load; prints figures'
	@echo 'make crash             CUTS=200000 simulated power cuts of a node'"'"'s log, under four models; prints figures'
	@echo 'make damage            every bit of a small log and its snapshots flipped, every file cut at every byte'
	@echo 'make nemesis           some thirty kinds of real faults for MINUTES=20 under checked load, drawn from SEED=1 (root, Linux); prints figures'
	@echo 'make faults            partial partitions, hung, slow and failing disks of real nodes, TIMES=1 (root, Linux); prints how long writes stop, and reads beside slow syncs'
	@echo 'make powercut          the power of three real ext4 file systems cut CUTS=200 times under load (root, Linux); prints figures'
	@echo 'make exactly-once      APPENDS=1000000 appends by Clerk while 30 % of the answers are lost and leaders killed; prints figures'
	@echo 'make restart           kill -9 all nodes of a store of KEYS=1000000, start them, and so again when all was overwritten; prints time and memory'
	@echo 'make rejoin            a node whose disk is lost comes back while 64 clients write to KEYS=1000000 keys; prints figures'
	@echo 'make overload          ten times the capacity for OVERLOAD=60s, and 5,000 slow connections; prints figures'
	@echo 'make observe-test      the dashboard and the alerts on a real Prometheus beside a cluster under faults'
	@echo 'make metrics-cost      what measuring costs a PUT: PAIRS=200 times on and off, in turn, in one run; prints figures'
	@echo 'make labs              the labs'"'"' suites in virtual time, COUNT=1 times'
	@echo 'make labs-realtime     the same on the wall clock (some eleven minutes)'
	@echo 'make labs-race         the same in virtual time with the race detector'
	@echo 'make mutants           plant bugs, one at a time, in a copy; which test catches each (ONLY=M01,labs)'
	@echo 'make rename            give the module another path, in all files: MODULE=example.org/you/raftkv'
	@echo 'make clean             remove bin/'

build:
	$(GO) build -trimpath -o bin/raftkv ./cmd/raftkv

run: build
	@exec bin/raftkv dev $(ARGS)

# tests/sim and tests/system draw something new in every run, so a result of an
# earlier run is never taken for theirs.
test:
	$(GO) test -race -timeout 15m $$($(GO) list ./... | grep -v $(foreach p,$(PLAIN) $(ALONE),-e '$(p:.%=%)$$'))
	$(GO) test -race -timeout 10m $(ALONE)
	$(GO) test -count=1 -timeout 10m -p 1 $(PLAIN)

lint:
	@unformatted=$$("$$($(GO) env GOROOT)/bin/gofmt" -l .) && if [ -n "$$unformatted" ]; then \
		echo "not formatted (run gofmt -w):"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(STATICCHECK) ./...

bench:
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./...

fuzz:
	@set -e; for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "== $$package $$target for $(FUZZTIME)"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package; \
		done; \
	done

sim:
	$(GO) run ./tests/sim -seconds $(SECONDS)

crash:
	$(GO) test ./raft/wal -run 'PowerCuts|CrashBetween|CrashInInitialize' -v -count=1 -timeout 20m -args -power-cuts $(CUTS) -every-boundary -seed $(SEED)

damage:
	$(GO) test ./raft/wal -run 'TestEvery(FlippedBit|Cut|MixUp)' -v -count=1 -timeout 20m -args -every-bit

powercut: CUTS = 200
powercut:
	$(GO) test ./tests/system -run CampaignOfPowerCuts -v -count=1 -timeout 60m -system.powercuts $(CUTS)

nemesis:
	$(GO) test ./tests/system -run CampaignOfNemeses -v -count=1 -timeout $$(($(MINUTES) + 20))m -system.nemesis $(MINUTES)m -system.nemesis.seed $(SEED)

faults:
	$(GO) test ./tests/system -run 'PartialPartitions|CutOff|FaultyDisks|SlowSyncs' -v -count=1 -timeout 60m -system.faults $(TIMES)

kills:
	$(GO) test ./tests/system -run Campaign -v -count=1 -timeout 20m -system.leaderkills $(KILLS) -system.outages $(OUTAGES)

exactly-once:
	$(GO) test ./tests/system -run TestExactlyOnce -v -count=1 -timeout 60m -system.once.appends $(APPENDS) -system.once.kills 5s

restart:
	$(GO) test ./tests/system -run 'TestRestart$$' -v -count=1 -timeout 30m -system.restart.keys $(KEYS)

rejoin:
	$(GO) test ./tests/system -run TestANodeRejoins -v -count=1 -timeout 40m -system.rejoin.keys $(KEYS)

overload:
	$(GO) test ./tests/system -run 'CampaignOf(Overload|SlowClients)' -v -count=1 -timeout 30m -system.overload $(OVERLOAD) -system.slowconns 5000

metrics-cost:
	$(GO) test $(ALONE) -run TestMetricsCost -v -count=1 -timeout 60m -args -cost.pairs $(PAIRS)

observe-test:
	$(GO) test ./tests/system -run TestObserve -v -count=1 -timeout 20m -system.observe

labs:
	$(GO) test -count=$(COUNT) -timeout 120m ./labrpc/... ./raft
	$(GO) test -count=$(COUNT) -timeout 120m -run '$(KVLABS)' ./kvserver

labs-realtime:
	$(GO) test -realtime -v -count=1 -timeout 60m -run '2A|2B|2C|2D' ./raft
	$(GO) test -realtime -v -count=1 -timeout 60m -run '3A|3B' ./kvserver

labs-race:
	$(GO) test -race -count=$(COUNT) -timeout 60m ./labrpc/... ./raft
	$(GO) test -race -count=$(COUNT) -timeout 60m -run '$(KVLABS)' ./kvserver

mutants:
	$(GO) run ./tests/mutants -only '$(ONLY)'

rename:
	@$(GO) run ./deploy/rename -module '$(MODULE)'

clean:
	rm -rf bin
