package platform

// pricesOf is when the prices were true.
const pricesOf = "October 2025"

// price is what Lambda takes, in USD: the first tier of a month, without free tier,
// savings plans, tax, or what storage and streamed bytes cost.
type price struct{ amd64, arm64, request float64 } // per GB and second, per request

// usual is the price of nearly all regions.
var usual = price{amd64: 0.0000166667, arm64: 0.0000133334, request: 0.20e-6}

// provisioned is what the duration costs of functions that pay for being ready.
var provisioned = price{amd64: 0.0000097222, arm64: 0.0000077778, request: 0.20e-6}

// priceOf gives a region's price.
func priceOf(region string) price {
	switch region {
	case "af-south-1":
		return price{0.0000221, 0.00001768, 0.27e-6}
	case "ap-east-1":
		return price{0.00002292, 0.0000183, 0.28e-6}
	case "eu-south-1":
		return price{0.0000195172, 0.0000156138, 0.23e-6}
	case "eu-central-2":
		return price{0.0000183334, 0.0000146667, 0.22e-6}
	case "il-central-1":
		return price{0.0000175, 0.000014, 0.21e-6}
	case "me-south-1", "me-central-1":
		return price{0.0000206667, 0.0000165334, 0.25e-6}
	}
	return usual
}

// cost is what one invocation costs. Provisioned functions of the dearer regions
// pay more in the same proportion.
func cost(region, architecture string, isProvisioned bool, billedSeconds, memoryBytes float64) float64 {
	p := priceOf(region)
	rate, base, less := p.amd64, usual.amd64, provisioned.amd64
	if architecture == "arm64" {
		rate, base, less = p.arm64, usual.arm64, provisioned.arm64
	}
	if isProvisioned {
		rate = less * rate / base
	}
	return billedSeconds*memoryBytes/(1<<30)*rate + p.request
}
