package emulator

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// hidden are the platform's variables that an extension does not see, besides
// everything that starts with an underscore.
var hidden = []string{
	"AWS_EXECUTION_ENV", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_XRAY_CONTEXT_MISSING",
	"AWS_XRAY_DAEMON_ADDRESS", "LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT", "AWS_LAMBDA_INITIALIZATION_TYPE",
	"AWS_LAMBDA_LOG_FORMAT", "AWS_LAMBDA_LOG_LEVEL", "AWS_LAMBDA_MAX_CONCURRENCY",
}

// variables gives the environment of the runtime's process, and the part of it
// that extensions see. Reserved names win over the customer's.
func (e *environment) variables() (runtime, extension []string) {
	f, cfg := e.function, e.lambda.cfg
	defaults := map[string]string{
		"AWS_ACCESS_KEY_ID": "ASIAEMULATOR", "AWS_SECRET_ACCESS_KEY": "emulator", "AWS_SESSION_TOKEN": "emulator",
		"AWS_REGION": cfg.Region, "AWS_DEFAULT_REGION": cfg.Region, "TZ": ":UTC",
		"PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
		"LD_LIBRARY_PATH": "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:" +
			"/var/task:/var/task/lib:/opt/lib",
		"LANG":                    "en_US.UTF-8",
		"AWS_ENDPOINT_URL_LAMBDA": e.lambda.Endpoint(),
	}
	reserved := map[string]string{
		"AWS_LAMBDA_FUNCTION_NAME":        f.Name,
		"AWS_LAMBDA_FUNCTION_VERSION":     version,
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.Itoa(f.MemoryMB),
		"AWS_LAMBDA_RUNTIME_API":          e.listener.Addr().String(),
		"AWS_LAMBDA_LOG_GROUP_NAME":       "/aws/lambda/" + f.Name,
		"AWS_LAMBDA_LOG_STREAM_NAME":      e.logStream,
		"AWS_LAMBDA_INITIALIZATION_TYPE":  e.initType(),
		"AWS_LAMBDA_LOG_FORMAT":           f.LogFormat,
		"AWS_XRAY_CONTEXT_MISSING":        "LOG_ERROR",
		"AWS_XRAY_DAEMON_ADDRESS":         "169.254.79.129:2000",
		"_AWS_XRAY_DAEMON_ADDRESS":        "169.254.79.129",
		"_AWS_XRAY_DAEMON_PORT":           "2000",
		"LAMBDA_TASK_ROOT":                e.taskRoot(),
		"LAMBDA_RUNTIME_DIR":              "/var/runtime",
		"_HANDLER":                        f.Handler,
	}
	if f.LogFormat == "JSON" {
		reserved["AWS_LAMBDA_LOG_LEVEL"] = "INFO"
	}
	visible := hidden[:0:0] // of those hidden elsewhere
	if f.InitType == managed {
		reserved["AWS_LAMBDA_MAX_CONCURRENCY"] = strconv.Itoa(f.MaxConcurrency)
		visible = []string{"AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_FORMAT", "AWS_LAMBDA_LOG_LEVEL"}
	}
	if f.Env["AWS_ACCESS_KEY_ID"] != "" { // credentials are a set: ours must not complete the customer's
		delete(defaults, "AWS_SESSION_TOKEN")
	}
	all := map[string]string{}
	for _, layer := range []map[string]string{defaults, f.Env, reserved} {
		for name, value := range layer {
			all[name] = value
		}
	}
	if f.InitType == snapStart {
		e.snapshot.credentials.take(all)
		all["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://" + e.listener.Addr().String() + credentialsPath
		all["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = e.snapshot.credentials.token
		delete(all, "AWS_LAMBDA_LOG_GROUP_NAME")
		delete(all, "AWS_LAMBDA_LOG_STREAM_NAME")
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		text := fmt.Sprintf("%s=%s", name, all[name])
		runtime = append(runtime, text)
		if !strings.HasPrefix(name, "_") && (!slices.Contains(hidden, name) || slices.Contains(visible, name)) {
			extension = append(extension, text)
		}
	}
	return runtime, extension
}
