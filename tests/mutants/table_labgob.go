package main

// The labs' encoding (labrpc/labgob).
var labgobMutants = []mutant{
	{
		id: "R4", bug: "a lower-case field in the key of a map is not reported",
		file:    "labrpc/labgob/warnings.go",
		old:     "\t\tfound = lowerCaseFields(t.Key(), found)\n",
		new:     "",
		oracles: []string{"test ./labrpc/labgob"},
	},
}
