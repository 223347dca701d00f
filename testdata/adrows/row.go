package adrows

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// row is one row before it is text. Measures that may be null stand beside
// what says so.
type row struct {
	day, account, campaign, adset, ad int
	country, device                   int

	impressions, clicks, views int64
	viewsNull                  bool
	spend                      int64 // millionths
	conversions                float64
	conversionsNull            bool
	revenue                    *big.Int // of 10 digits after the point
	active                     int      // 0 false, 1 true, 2 null
	updated                    time.Time
	targeting, note            int
	omit                       bool // nulls are left out instead of written
}

func (g *generator) drawIdentity() {
	r := &g.row
	r.campaign = g.rng.IntN(len(g.accounts[r.account].campaigns))
	r.adset = g.rng.IntN(8)
	r.ad = g.rng.IntN(24)
	r.country = g.rng.IntN(len(countries))
	r.device = g.rng.IntN(len(devices))
}

func (g *generator) drawMeasures() {
	r, n := &g.row, g.rng.IntN
	r.impressions = int64(n(1 << n(18)))
	r.clicks = int64(n(int(r.impressions)/20 + 1))
	r.spend = r.clicks * int64(n(2_000_000))
	if n(500) == 0 {
		r.spend = -r.spend - 1 // a credit
	}
	r.viewsNull = n(100) < 60
	r.views = int64(n(int(r.impressions) + 1))
	r.conversionsNull = n(100) < 30
	r.conversions = float64(n(int(r.clicks)+1)) / 8
	switch n(200) {
	case 0:
		r.conversions = g.rng.Float64()
	case 1:
		r.conversions = [...]float64{1e-7, 1.5e21, 5e-324, 0.1, 123456789.125}[n(5)]
	}
	r.revenue = big.NewInt(r.spend * int64(n(4_000)))
	if n(20) == 0 { // all the digits that there may be, of either sign
		r.revenue.SetUint64(g.rng.Uint64() % 1e19)
		r.revenue.Mul(r.revenue, big.NewInt(1e18)).Add(r.revenue, big.NewInt(g.rng.Int64N(1e18)))
		r.revenue.Mul(r.revenue, big.NewInt(int64(1-2*n(2))))
	}
	if r.active = n(2); n(100) == 0 {
		r.active = 2
	}
	late := time.Duration(n(48*3600)) * time.Second
	if n(4) > 0 {
		late += time.Duration(n(1_000_000)) * time.Microsecond
	}
	if g.o.Restated > 0 {
		late += 7 * 24 * time.Hour
	}
	r.updated = g.o.First.AddDate(0, 0, r.day).Add(24*time.Hour + late)
	r.targeting = n(len(targetings))
	r.note = n(len(notes))
	r.omit = n(2) == 0
}

// appendRow writes the row as one line of JSON, in the schema's order.
func (g *generator) appendRow(b []byte) []byte {
	r := &g.row
	a := &g.accounts[r.account]
	c := &a.campaigns[r.campaign]
	b = append(b, `{"date":"`...)
	b = append(b, g.days[r.day]...)
	b = append(b, `","account_id":`...)
	b = append(b, a.idText...)
	b = append(b, `,"account_name":`...)
	b = append(b, a.nameText...)
	b = append(b, `,"campaign_id":`...)
	b = strconv.AppendInt(b, c.id, 10)
	b = append(b, `,"campaign_name":`...)
	b = append(b, c.nameText...)
	b = append(b, `,"adset_name":"`...)
	b = append(b, adsets[r.adset]...)
	b = append(b, ` / `...)
	b = strconv.AppendInt(b, int64(r.campaign), 10)
	b = append(b, `","ad_name":"`...)
	b = append(b, creatives[r.ad%len(creatives)]...)
	b = append(b, `_v`...)
	b = strconv.AppendInt(b, int64(r.ad/len(creatives)), 10)
	b = append(b, '"')
	b = r.text(b, "country", countries[r.country])
	b = append(b, `,"device":`...)
	b = append(b, devices[r.device]...)
	b = append(b, `,"currency":"`...)
	b = append(b, a.currency...)
	b = append(b, `","impressions":`...)
	b = strconv.AppendInt(b, r.impressions, 10)
	b = append(b, `,"clicks":`...)
	b = strconv.AppendInt(b, r.clicks, 10)
	b = append(b, `,"spend":`...)
	b = appendDecimal(b, strconv.FormatInt(r.spend, 10), 6)
	if b = r.field(b, "conversions", r.conversionsNull); !r.conversionsNull {
		b = strconv.AppendFloat(b, r.conversions, 'g', -1, 64)
	}
	if b = r.field(b, "video_views", r.viewsNull); !r.viewsNull {
		b = strconv.AppendInt(b, r.views, 10)
	}
	if b = r.field(b, "ctr", r.impressions == 0); r.impressions > 0 {
		b = strconv.AppendFloat(b, float64(r.clicks)/float64(r.impressions), 'g', -1, 64)
	}
	b = append(b, `,"revenue":"`...) // as text: few JSON libraries would leave a number of 38 digits alone
	b = appendDecimal(b, r.revenue.String(), 10)
	b = append(b, '"')
	if b = r.field(b, "is_active", r.active == 2); r.active < 2 {
		b = strconv.AppendBool(b, r.active == 1)
	}
	b = append(b, `,"updated_at":"`...)
	b = r.updated.AppendFormat(b, "2006-01-02T15:04:05.999999Z")
	b = append(b, '"')
	b = r.text(b, "targeting", targetings[r.targeting])
	b = append(b, `,"url":"https://shop.example/`...)
	b = append(b, a.currency...)
	b = append(b, `/p?utm_source=ads&utm_campaign=`...)
	b = strconv.AppendInt(b, c.id, 10)
	b = append(b, `&ad=`...)
	b = strconv.AppendInt(b, int64(r.ad), 10)
	b = append(b, '"')
	b = r.text(b, "note", notes[r.note])
	return append(b, "}\n"...)
}

// field begins a field that may be null; of a null it writes all there is.
func (r *row) field(b []byte, name string, null bool) []byte {
	if null && r.omit {
		return b
	}
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	if null {
		b = append(b, "null"...)
	}
	return b
}

// text writes a field of JSON text, "" standing for null.
func (r *row) text(b []byte, name, value string) []byte {
	return append(r.field(b, name, value == ""), value...)
}

// appendDecimal puts the point into a whole number's digits.
func appendDecimal(b []byte, digits string, scale int) []byte {
	if digits[0] == '-' {
		b, digits = append(b, '-'), digits[1:]
	}
	for range scale + 1 - len(digits) {
		digits = "0" + digits
	}
	b = append(b, digits[:len(digits)-scale]...)
	b = append(b, '.')
	return append(b, digits[len(digits)-scale:]...)
}

// account is one advertiser; texts are JSON.
type account struct {
	id, currency     string
	idText, nameText []byte
	campaigns        []campaign
}

type campaign struct {
	id       int64
	nameText []byte
}

// accountIDs are ids that a key must survive. Accounts beyond them have plain ones.
var accountIDs = []string{
	"act_1001", "acme/eu", "..", "50%", "ünï çødé", "two words", "acme/EU", "0042", "42", "日本🗼",
	"acme%2Feu", ".hidden", `back\slash`, " edges ", "a,b;c\td", `quo"te`, "line\nbreak", "-", "CON", "act_1001 ",
}

func newAccount(k int) account {
	a := account{id: fmt.Sprintf("act_%07d", k), currency: [...]string{"EUR", "USD", "GBP", "JPY"}[k%4]}
	if k < len(accountIDs) {
		a.id = accountIDs[k]
	}
	a.idText, a.nameText = text(a.id), text(fmt.Sprintf("Account %d “%s”", k+1, a.id))
	for c := range 6 + 60/(k+1) {
		a.campaigns = append(a.campaigns, campaign{
			id:       1<<53 + 1 + int64(k)*1_000_004 + int64(c)*2, // odd: no float64 holds it
			nameText: text(strings.ReplaceAll(campaignNames[c%len(campaignNames)], "#", strconv.Itoa(c))),
		})
	}
	return a
}

// text is s as JSON, with characters beyond ASCII as they are.
func text(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always has a JSON form
	}
	return b
}

var (
	campaignNames = []string{
		"Brand | search | #", "Summer, sun & \"fun\" #", "two\nlines #", "🚀 launch # 🎉", "a/b/../c #",
		"..", "'quoted' #; --", "tab\there #", "ÄÖÜ ß #", "=SUM(A#)", " spaces # ", "naïve café #", "%2F#", "<b>#</b>",
	}
	adsets    = []string{"18-24", "25-34", "35-44", "45+", "läufer", "a \\\"b\\\"", "retarget\\n30d", "all"}
	creatives = []string{"video", "carousel", "story, 9:16", "still", "🎬 cut", "text"}
	// JSON texts; "" is null.
	countries  = []string{`"DE"`, `"FR"`, `"US"`, `"GB"`, `"JP"`, `"BR"`, `"IN"`, `"PL"`, `""`, ""}
	devices    = []string{`"mobile"`, `"desktop"`, `"tablet"`, `"connected_tv"`}
	targetings = []string{
		`{"age":[18,24],"geo":{"in":["DE","FR"]}}`, `{"age":[25,34],"interests":["läufer","a \"b\""],"lookalike":null}`,
		`{ "spaced" : [ 1 , 2.50 , -3e2 ], "deep":{"a":{"b":{"c":[]}}} }`, `{}`, `[]`, `"all"`, `17`, `true`, "", `{"id":90071992547409931}`,
	}
	notes = []string{
		"", "", "", "", `""`, `""`, `"ok"`, `"checked, twice"`, `"she said \"no\""`, `"line one\nline two\r\nline three"`,
		`"null"`, `" "`, `"\u00e9 escaped, é not"`, `"\ud83d\ude00 pair"`, `"back\\slash"`, `"tab\tand \u0001"`,
	}
)
