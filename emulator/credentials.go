package emulator

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

const (
	credentialsPath = "/2021-04-23/credentials"
	// credentialsLast is how long credentials are said to be valid from the moment
	// that they are asked for.
	credentialsLast = 6 * time.Hour
)

// credentialStore is where the processes of SnapStart get theirs: a snapshot outlives
// what its variables could hold.
type credentialStore struct {
	token string

	mu  sync.Mutex
	set credentialSet
}

// credentialSet is the answer of the endpoint, as AWS's SDKs read it.
type credentialSet struct {
	AccessKeyID     string    `json:"AccessKeyId"`
	SecretAccessKey string    `json:"SecretAccessKey"`
	Token           string    `json:"Token"`
	Expiration      time.Time `json:"Expiration"`
}

func newCredentials() *credentialStore { return &credentialStore{token: rand.Text()} }

// take moves static credentials out of the variables.
func (c *credentialStore) take(variables map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set = credentialSet{AccessKeyID: variables["AWS_ACCESS_KEY_ID"], Token: variables["AWS_SESSION_TOKEN"],
		SecretAccessKey: variables["AWS_SECRET_ACCESS_KEY"]}
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} {
		delete(variables, name)
	}
}

// ServeHTTP answers who has the token.
func (c *credentialStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != c.token {
		http.Error(w, "cannot get credentials for the provided token", http.StatusNotFound)
		return
	}
	c.mu.Lock()
	set := c.set
	c.mu.Unlock()
	set.Expiration = time.Now().Add(credentialsLast).UTC().Truncate(time.Second)
	_ = json.NewEncoder(w).Encode(set) // who is gone has no use for it
}
