package main

// The load generator (client/bench).
var benchMutants = []mutant{
	inTests("CL6", "TestOnlyNodesAreMeasured", "what a web server answers is an operation that was done", "client/bench/target.go",
		"\tcase response.Header.Get(api.HeaderRequestID) == \"\" && response.Header.Get(api.HeaderError) == \"\":\n\t\treturn failureName(string(api.OutcomeUnknown), \"no_node\") // another server answers there\n", ""),
}
