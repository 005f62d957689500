// Package ask asks one node over HTTP for what no Clerk needs: its status, whether it is
// ready, a backup, an export. Only an answer of a node counts; what another server says
// is an error that names it.
package ask
