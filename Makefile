# The commands of the project. `make` lists them.
.DEFAULT_GOAL := help
.PHONY: help demo demo-down report test check e2e gen bench cluster-up cluster-down images

EXAMPLE ?= phase1-c

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## cluster, chart, experiment, decision, report (EXAMPLE=phase1-c, quickstart, …)
	dev/demo run $(EXAMPLE)

demo-down: ## remove the cluster of the demo
	dev/demo down

report: ## fetch the results of an experiment again (EXAMPLE=…)
	dev/demo fetch default $(EXAMPLE) out/$(EXAMPLE)

test: ## everything: lints, unit, integration, end-to-end on a cluster
	dev/test all

check: ## what needs no cluster: lints, unit tests, generated files, scripts, chart
	dev/test check

e2e: ## the end-to-end tests alone
	dev/test e2e

gen: ## write the generated files: definitions, API reference, schema of the summary, their copies
	cargo run -q -p bakeoff-crds --bin crdgen crds docs/reference
	cargo run -q -p bakeoff-analysis --bin schemagen docs/reference/summary.schema.json
	cargo run -q -p bakeoff-trace --bin traceschema docs/reference/trace.schema.json
	mkdir -p charts/bakeoff/files/crds
	cp crds/*.yaml charts/bakeoff/files/crds/

bench: ## speed and size, with the figures of the documents
	bench/run

cluster-up: ## start the local cluster (Linux, root)
	dev/cluster up

cluster-down: ## remove the local cluster and its data
	dev/cluster down

images: ## build the images of the local cluster
	dev/images build all
