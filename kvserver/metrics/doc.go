// Package metrics makes the instruments that measure a server and its doors.
//
// All names, helps, labels and buckets stand in one table (table.go), from which
// they are registered and to which the documents are held. The packages that are
// measured do not know this one: they have interfaces of a few methods
// (machine.Observer, kvserver.Observer, httpd.Observer, clerkd.Observer), which
// [Metrics] implements. Labels have few values: routes as they stand in
// httpd.Routes, never a path or a key.
package metrics
