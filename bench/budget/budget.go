// Package budget is where the goals of package figure are tests: what the
// extension weighs, what it adds to a cold start and how much memory it takes.
// A test that fails here says that a change costs every user something; raise
// the goal, with its reason, only if it is worth that.
package budget
