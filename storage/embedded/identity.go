package embedded

import (
	"crypto/hmac"
	"crypto/sha256"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3err"
)

// User is an IAM user with one access key.
type User struct {
	ARN       string // arn:aws:iam::ACCOUNT:user/NAME
	AccessKey string
	SecretKey string
	Policy    []Statement
}

// Role is an IAM role that principals of its trust list may assume.
type Role struct {
	ARN        string        // arn:aws:iam::ACCOUNT:role/NAME
	Trust      []string      // ARNs of users and roles; "*" for anyone with credentials
	ExternalID string        // required of the caller when set
	MaxSession time.Duration // one hour when zero
	Policy     []Statement
}

// Statement allows or denies actions on resources. A trailing * in an action
// or resource stands for anything.
type Statement struct {
	Deny      bool
	Actions   []string // "s3:GetObject", "s3:*", "sts:AssumeRole"
	Resources []string // "arn:aws:s3:::bucket/prefix/*"; empty means every resource
}

// identities are the users, roles and sessions of the server. It is the
// gateway's IAM service.
type identities struct {
	root  auth.Account
	users []User
	roles []Role
	now   func() time.Time

	mu       sync.Mutex
	sessions map[string]session // by access key
}

// session is the temporary credentials of an assumed role.
type session struct {
	accessKey, secretKey, token string
	role                        Role
	arn                         string // arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION
	expires                     time.Time
}

// The interfaces that the gateway finds by assertion: without them it would
// silently ask for no policies and refuse sessions.
var (
	_ auth.IAMService         = (*identities)(nil)
	_ auth.SigningKeyProvider = (*identities)(nil)
	_ auth.PolicyEvaluator    = (*identities)(nil)
	_ auth.PrincipalResolver  = (*identities)(nil)
)

func newIdentities(cfg Config) *identities {
	return &identities{
		root:  auth.Account{Access: cfg.AccessKey, Secret: cfg.SecretKey, Role: auth.RoleAdmin},
		users: cfg.Users, roles: cfg.Roles, now: cfg.Now,
		sessions: map[string]session{},
	}
}

// principal is who a request's credentials belong to.
type principal struct {
	arn, roleArn string
	secret       string
	root         bool
	session      bool
	policy       []Statement
}

// find resolves an access key. The token must be the session's own.
func (i *identities) find(accessKey, token string) (principal, error) {
	if accessKey == i.root.Access {
		return principal{arn: "arn:aws:iam::root", secret: i.root.Secret, root: true}, nil
	}
	for _, u := range i.users {
		if u.AccessKey == accessKey {
			if token != "" {
				return principal{}, auth.ErrInvalidSessionToken
			}
			return principal{arn: u.ARN, secret: u.SecretKey, policy: u.Policy}, nil
		}
	}
	i.mu.Lock()
	s, ok := i.sessions[accessKey]
	i.mu.Unlock()
	switch {
	case !ok:
		return principal{}, auth.ErrNoSuchUser
	case !hmac.Equal([]byte(s.token), []byte(token)):
		return principal{}, auth.ErrInvalidSessionToken
	case !i.now().Before(s.expires):
		return principal{}, s3err.APIError{
			Code:           "ExpiredToken",
			Description:    "The provided token has expired.",
			HTTPStatusCode: http.StatusBadRequest,
		}
	}
	return principal{arn: s.arn, roleArn: s.role.ARN, secret: s.secretKey, session: true, policy: s.role.Policy}, nil
}

func (i *identities) role(arn string) (Role, bool) {
	n := slices.IndexFunc(i.roles, func(r Role) bool { return r.ARN == arn })
	if n < 0 {
		return Role{}, false
	}
	return i.roles[n], true
}

func (i *identities) open(s session) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.sessions[s.accessKey] = s
}

// DeriveSigningKey gives the SigV4 key of an access key. The gateway keeps
// the names that arrive here; they alias a buffer it reuses.
func (i *identities) DeriveSigningKey(accessKey, token, date, region, service string) ([]byte, auth.Account, error) {
	accessKey, token = strings.Clone(accessKey), strings.Clone(token)
	p, err := i.find(accessKey, token)
	if err != nil {
		return nil, auth.Account{}, err
	}
	account := auth.Account{
		Access: accessKey, Role: auth.RoleUser, Arn: p.arn, RoleArn: p.roleArn,
		SessionToken: token, IsSession: p.session,
	}
	if p.root {
		account.Role = auth.RoleAdmin
	}
	return signingKey(p.secret, date, region, service), account, nil
}

func signingKey(secret, date, region, service string) []byte {
	key := []byte("AWS4" + secret)
	for _, part := range []string{date, region, service, "aws4_request"} {
		key = mac(key, part)
	}
	return key
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// EvaluatePolicy decides every action on every resource for a principal.
func (i *identities) EvaluatePolicy(accessKey, token string, actions []auth.Action, resources []string, _ map[string][]string) (auth.PolicyEvaluation, error) {
	p, err := i.find(accessKey, token)
	if err != nil {
		return auth.PolicyEvaluation{}, err
	}
	evaluation := auth.PolicyEvaluation{PrincipalArn: p.arn}
	fill(&evaluation.Decisions, len(resources), len(actions), func(r, a int) int {
		return decide(p.policy, string(actions[a]), resources[r])
	})
	return evaluation, nil
}

// fill makes the matrix of a type that its package does not export.
func fill[D ~int](matrix *[][]D, rows, columns int, cell func(row, column int) int) {
	*matrix = make([][]D, rows)
	for r := range rows {
		(*matrix)[r] = make([]D, columns)
		for c := range columns {
			(*matrix)[r][c] = D(cell(r, c))
		}
	}
}

// The decisions, in the gateway's numbering.
const (
	undecided = iota
	allowed
	denied
)

func decide(policy []Statement, action, resource string) int {
	decision := undecided
	for _, s := range policy {
		if !matchesAny(s.Actions, action) || (len(s.Resources) > 0 && !matchesAny(s.Resources, resource)) {
			continue
		}
		if s.Deny {
			return denied
		}
		decision = allowed
	}
	return decision
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		prefix, open := strings.CutSuffix(pattern, "*")
		return pattern == name || (open && strings.HasPrefix(name, prefix))
	})
}

// ResolvePrincipals gives the principals that a bucket policy may not name
// because they do not exist.
func (i *identities) ResolvePrincipals(principals []string) ([]string, error) {
	unknown := []string{}
	for _, arn := range principals {
		_, isRole := i.role(arn)
		if !isRole && !slices.ContainsFunc(i.users, func(u User) bool { return u.ARN == arn }) {
			unknown = append(unknown, arn)
		}
	}
	return unknown, nil
}

// GetUserAccount is the account of a permanent access key, without secret.
func (i *identities) GetUserAccount(accessKey string) (auth.Account, error) {
	p, err := i.find(accessKey, "")
	if err != nil {
		return auth.Account{}, auth.ErrNoSuchUser
	}
	if p.root {
		return i.root, nil
	}
	return auth.Account{Access: accessKey, Role: auth.RoleUser, Arn: p.arn}, nil
}

// ResolveAccounts gives the access keys that do not exist.
func (i *identities) ResolveAccounts(accessKeys []string) ([]string, error) {
	unknown := []string{}
	for _, key := range accessKeys {
		if _, err := i.GetUserAccount(key); err != nil {
			unknown = append(unknown, key)
		}
	}
	return unknown, nil
}

// CreateAccount is refused: users come with the configuration.
func (*identities) CreateAccount(auth.Account) error { return errFixed() }

// UpdateUserAccount is refused: users come with the configuration.
func (*identities) UpdateUserAccount(string, auth.MutableProps) error { return errFixed() }

// DeleteUserAccount is refused: users come with the configuration.
func (*identities) DeleteUserAccount(string) error { return errFixed() }

// ListUserAccounts is refused: users come with the configuration.
func (*identities) ListUserAccounts() ([]auth.Account, error) { return nil, errFixed() }

// Shutdown has nothing to release.
func (*identities) Shutdown() error { return nil }

func errFixed() error { return s3err.GetAPIError(s3err.ErrAdminMethodNotSupported) }
