// Package sandbox runs the processes of one execution environment behind
// Lambda's walls: private /tmp, read-only /opt and /var/task, CPU share, memory
// limit, freeze and thaw. Use one Sandbox per environment; what this machine
// does not allow is said in Notices and left out.
package sandbox
