// Package telemetryapi is the emulator's Telemetry API and Logs API: it takes
// subscriptions, buffers events for each subscriber and delivers them as the
// platform does. Use one Hub per execution environment.
package telemetryapi
