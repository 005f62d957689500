# Everything here needs Go 1.26 or later, make and nothing else; ui-shots alone needs a browser.

GO ?= go

# staticcheck is pinned in a module file of its own, so that it and what it needs
# are no dependency of the program.
STATICCHECK = $(GO) tool -modfile=.ci/tools/go.mod staticcheck

# The labs' tests in kvserver, which has others too.
KVLABS = 3A|3B|Versioned|LostAnswer

# PLAIN run without the race detector: core and simulator are one thread, tests/system,
# tests/campaign and tests/bench watch processes, and tests/memory damages memory
# behind the back of its readers. They draw something new in every run, so an earlier result
# never counts. Processes wait for each other and for disks most of the time, so four of their
# tests run side by side, and more packages than there are processors.
PLAIN = ./raft/core ./tests/arch ./tests/memory ./tests/sim ./tests/system ./tests/campaign ./tests/bench
# TRIED run in full without the race detector, which makes them six times slower and
# sees nothing new in them: tests of very many cases, one after the other, watches of which
# one world is run with it, too, and the labs that are numbered 3A and 3B, which are those
# of 2A and 2B in raft and of 4A and 4B in kvserver once more. LABSPLAIN are labs of kvserver
# whose clients, partitions and restarts others have together; make labs-race runs all.
LABSPLAIN = Persist.*4A$$|^TestUnreliable4A|PartitionsOneClient4A|Speed4|SnapshotRecover4B|SnapshotUnreliable4B|SnapshotUnreliableRecover4B|RecoverConcurrentPartition4B
TRIED = 3[AB]$$|TestCrashBetween|TestEvery(FlippedBit|FailingOperation|Cut)$$|TestLyingSyncThen|TestTornTailAtEveryByte|TestTornWritesOverOldRecords|TestDamageInTheLastBlock|TestWritesPerByteOfAValue|TestWhatRunsBesideASave$$|Agrees?WithAPlainModel$$|AreToldTheTruth$$|IsToldSoon$$|TestAKilledNodesEventsAre|TestManyShortBoots|TestLimitsRefuseATransactionWhole|TestChunksDoNotKeepWhatIsGone|TestMetamorphic_RestoringChangesNothing|TestLeasesAreBounded|$(LABSPLAIN)
# ALLOCATIONS are held to baselines, which the race detector would spoil, as it would
# the costs of a node. make lint vets everything, so no test run does.
ALLOCATIONS = ./raft/core ./raft/wire ./raft/wal ./kvserver/kv ./kvserver/clerkwire ./kvserver/httpd ./kvserver/clerkd

# A campaign is a row: its package, tests and settings. make NAME starts it, too.
real = ./tests/campaign -timeout
campaign.kills        = $(real) 20m -run 'CampaignOf(LeaderKills|Outages)' -leaderkills $(or $(KILLS),20) -outages $(or $(OUTAGES),50)
campaign.faults       = $(real) 60m -run 'PartialPartitions|CutOff|FaultyDisks|SlowSyncs' -faults $(or $(TIMES),1)
campaign.nemesis      = $(real) $$(($(or $(MINUTES),20) + 20))m -run CampaignOfNemeses -nemesis $(or $(MINUTES),20)m -nemesis.seed $(or $(SEED),1)
campaign.powercut     = $(real) 60m -run CampaignOfPowerCuts -powercuts $(or $(CUTS),200)
campaign.overload     = $(real) 30m -run 'CampaignOf(Overload|SlowClients)' -overload $(or $(OVERLOAD),60s) -slowconns 5000
campaign.exactly-once = $(real) 60m -run ExactlyOnce -once.appends $(or $(APPENDS),1000000) -once.kills 5s
campaign.restart      = $(real) 30m -run 'TestRestart$$' -restart.keys $(or $(KEYS),1000000)
campaign.rejoin       = $(real) 40m -run TestANodeRejoins -rejoin.keys $(or $(KEYS),1000000)
campaign.upgrade      = $(real) 30m -run 'TestUpgrade$$' -upgrade.appends $(or $(APPENDS),2000)
campaign.observe-test = $(real) 20m -run TestObserve -observe
campaign.members      = $(real) $$(($(or $(MINUTES),10) + 10))m -run CampaignOfMembers -members $(or $(MINUTES),10)m -members.seed $(or $(SEED),1)
campaign.growth       = $(real) 30m -run 'TestCampaignOfGrowth$$' -growths $(or $(TIMES),20)
campaign.securing     = $(real) 20m -run 'TestCampaignOfSecuring$$' -securing
campaign.secure-cost  = $(real) 30m -run TestWhatSecurityCosts -securityrounds $(or $(ROUNDS),5)
campaign.statefulset  = $(real) 20m -run TestALifeOfPods -statefulset
campaign.strangers    = $(real) 20m -run TestCampaignOfTLSStrangers -tlsstrangers $(or $(CONNS),10000)
campaign.renewals     = ./tests/system -timeout 20m -run TestCertificatesAreReplacedUnderLoad -args -renewals $(or $(TIMES),100)
campaign.strays       = ./tests/system -timeout 60m -run 'TestAStrayNodeEndsNobody|TestAHotCopyThatIsPutBackIsFound' -args -stray.runs $(or $(TIMES),20)
campaign.descriptors  = ./tests/system -timeout 30m -run TestIdleClientsTakeNoDescriptor -args -descriptors
campaign.explain      = ./cmd/raftkv/internal/stage -timeout 120m -run TestBlindIncidents -args -blind $(or $(N),200) -blind.seed $(or $(SEED),1)
campaign.quiet        = ./cmd/raftkv/internal/stage -timeout 120m -run TestAQuietTime -args -blind.quiet $(or $(FOR),1h)
campaign.recorder-cost = ./cmd/raftkv/internal/host -timeout 60m -run TestRecorderCost -args -cost.pairs $(or $(PAIRS),60)
campaign.metrics-cost = ./cmd/raftkv/internal/host -timeout 60m -run TestMetricsCost -args -cost.pairs $(or $(PAIRS),200)
campaign.crash        = ./raft/wal -timeout 20m -run 'PowerCuts|CrashBetween|CrashInInitialize' -args -power-cuts $(or $(CUTS),200000) -every-boundary -seed $(or $(SEED),1)
campaign.damage       = ./raft/wal -timeout 20m -run 'TestEvery(FlippedBit|Cut|MixUp)' -args -every-bit
CAMPAIGNS := $(sort $(patsubst campaign.%,%,$(filter campaign.%,$(.VARIABLES))))

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile
	@echo 'campaigns: $(CAMPAIGNS)'

build: ## bin/raftkv
	$(GO) build -trimpath -o bin/raftkv ./cmd/raftkv

run: build ## a durable cluster of three nodes in this terminal (ARGS="--fresh")
	@exec bin/raftkv dev $(ARGS)

test: ## every test, with the race detector where it can find something
	$(GO) test -vet=off -race -p 3 -timeout 15m -skip '$(TRIED)' $$($(GO) list ./... | grep -v $(patsubst .%,-e '%$$',$(PLAIN)))
	$(GO) test -vet=off -timeout 15m -run '$(TRIED)' ./raft ./kvserver ./kvserver/kv ./kvserver/clerkd ./kvserver/explain ./kvserver/recorder ./raft/wal ./cmd/raftkv/internal/stage
	$(GO) test -vet=off -count=1 -timeout 15m -p 4 -parallel 4 $(PLAIN)
	$(GO) test -vet=off -count=1 -run '^TestAllocations$$' $(ALLOCATIONS)
	$(GO) test -vet=off -count=1 -run '^TestCosts$$' ./raft/node

lint: ## gofmt, go vet, staticcheck
	@unformatted=$$("$$($(GO) env GOROOT)/bin/gofmt" -l .) && if [ -n "$$unformatted" ]; then \
		echo "not formatted (run gofmt -w):"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(STATICCHECK) ./...

bench: ## raftkv against what this machine can do at all (QUICK=1 BEFORE=old/raftkv)
	$(GO) test -v -count=1 -timeout 30m ./tests/bench -run Ceilings $(if $(QUICK),-rod.quick,-rod) $(if $(BEFORE),-rod.before $(abspath $(BEFORE))) $(if $(LOG),-rod.log $(abspath $(LOG)))

bench-peers: build ## raftkv against etcd and dragonboat, 15 minutes (ROUNDS=3)
	cd tests/bench/peers && $(GO) test -v -count=1 -timeout 30m . -cluster.program $(CURDIR)/bin/raftkv -rounds $(or $(ROUNDS),3) $(if $(LOG),-log $(abspath $(LOG)))

bench-coordination: build ## watches, transactions, leases and locks against etcd, 15 minutes (ROUNDS=3 ROW=lock)
	cd tests/bench/peers && $(GO) test -v -count=1 -timeout 17m . -run CoordinationAgainst -cluster.program $(CURDIR)/bin/raftkv -rounds $(or $(ROUNDS),3) $(if $(ROW),-coordination.only '$(ROW)')

gate: ## is this source dearer or slower than an earlier one? 15 minutes (BASE=commit ROUNDS=8)
	@test -n '$(BASE)' || { echo 'say BASE=, the commit to compare with'; exit 1; }
	@set -e; dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	git archive --format=tar '$(BASE)' | tar -x -C "$$dir"; \
	(cd "$$dir" && $(GO) build -trimpath -buildvcs=false -o raftkv.base ./cmd/raftkv); \
	$(GO) build -trimpath -buildvcs=false -o "$$dir/raftkv.now" ./cmd/raftkv; \
	$(GO) test -v -count=1 -timeout 60m ./tests/bench/gate -run TestGate -args -cluster.program "$$dir/raftkv.now" -gate.base "$$dir/raftkv.base" -gate.rounds $(or $(ROUNDS),8)

microbench: ## every benchmark (BENCH=Pattern)
	$(GO) test -run '^$$' -bench '$(or $(BENCH),.)' -benchmem ./...

allocations: ## write the baselines of what inner loops allocate anew
	$(GO) test -count=1 -run '^TestAllocations$$' $(ALLOCATIONS) -allocations.renew

fuzz: ## every fuzz target for FUZZTIME=60s
	@set -e; for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "== $$package $$target for $(or $(FUZZTIME),60s)"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(or $(FUZZTIME),60s) $$package; \
		done; \
	done

sim: ## fresh simulator seeds for SECONDS=60
	$(GO) run ./tests/sim -seconds $(or $(SECONDS),60)

explore: ## every state of the core within small bounds, a minute of a processor (DEEP=1: hours)
	$(GO) test -v -count=1 -timeout 24h ./raft/core -run '^TestExplore' -args -explore . $(if $(DEEP),-explore.deep -explore.limit $(or $(LIMIT),1h))

ui-shots: ## look at the page in Chromium: every view in five states, pictures in ui-shots/ (Debian, as root; npm)
	command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; }
	mkdir -p ui-shots/axe && cd ui-shots/axe && { test -e package/axe.min.js || { npm pack --silent axe-core@4.14.1 && tar xzf axe-core-4.14.1.tgz; }; }
	$(GO) test -v -count=1 -timeout 20m ./tests/ui -ui -ui.shots $(CURDIR)/ui-shots -ui.axe $(CURDIR)/ui-shots/axe/package/axe.min.js

mutants: ## plant bugs, one at a time, in a copy; which test catches each (ONLY=M01,labs)
	$(GO) run ./tests/mutants -only '$(ONLY)'

labs: ## the labs' suites in virtual time, COUNT=1 times
	$(GO) test -count=$(or $(COUNT),1) -timeout 120m ./labrpc/... ./raft
	$(GO) test -count=$(or $(COUNT),1) -timeout 120m -run '$(KVLABS)' ./kvserver

labs-realtime: ## the same on the wall clock (some eleven minutes)
	$(GO) test -realtime -v -count=1 -timeout 60m -run '2A|2B|2C|2D' ./raft
	$(GO) test -realtime -v -count=1 -timeout 60m -run '3A|3B' ./kvserver

labs-race: ## the same in virtual time with the race detector
	$(GO) test -race -count=$(or $(COUNT),1) -timeout 60m ./labrpc/... ./raft
	$(GO) test -race -count=$(or $(COUNT),1) -timeout 60m -run '$(KVLABS)' ./kvserver

campaign: $(filter $(CAMPAIGNS),$(NAME)) ## measure for long, some as root: NAME=kills and others (docs/testing.md)
	@test -n '$(filter $(CAMPAIGNS),$(NAME))' || { echo 'say NAME=, one of: $(CAMPAIGNS)'; exit 1; }

rename: ## give the module another path, in all files: MODULE=example.org/you/raftkv
	@$(GO) run ./deploy/rename -module '$(MODULE)'

clean: ## remove bin/ and ui-shots/
	rm -rf bin ui-shots

$(CAMPAIGNS):
	$(GO) test -v -count=1 $(campaign.$@)

.PHONY: $(CAMPAIGNS) help build run test lint gate bench bench-peers bench-coordination microbench allocations fuzz sim explore ui-shots mutants labs labs-realtime labs-race campaign rename clean
