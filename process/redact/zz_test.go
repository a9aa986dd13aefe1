package redact
import ("testing";"fmt";"bytes";"encoding/json";"slipstream/bench/lines")
func zzlines() [][]byte { var text bytes.Buffer
lines.Write(&text,1,5000); var out [][]byte
for l:=range bytes.Lines(text.Bytes()) { q,_:=json.Marshal(string(l)); out=append(out,q)}
return out}
func TestZZ(b *testing.T){ p:=defaultPolicy(b); ls:=zzlines(); total:=0; for _,l:=range ls {total+=len(l)}
 a:=&p.automaton
 acc,tails:=0,0; kinds:=map[string]int{}
 for _,l:=range ls { size:=len(l)/4; st:=uint32(0); for i,c:=range l { st=a.step(st,c); if st>=a.accepting {acc++; for _,x:=range a.ends[st-a.accepting]{kinds[p.literals[x].text]++}}; if (i+1)%size==0 {tails+=int(a.depth[st])}}}
 fmt.Println(float64(acc)/5000,float64(tails)/5000,total/5000,kinds)
 fs:=map[string]func(){"suspect":func(){for _,l:=range ls {p.Suspect(l)}},
 "read":func(){for _,l:=range ls { var found partHits; found.read(a,l,0)}},
 "parts":func(){for _,l:=range ls { a.parts(l,0,len(l)/4,0,func(uint32,int){})}},
 "hits":func(){for _,l:=range ls { f:=finder{p:p,b:l,raw:true}; f.scanParts()}},
 }
 best:=map[string]float64{}
 for range 40 { for n,f:=range fs { s:=cpu(); f();f(); d:=float64(cpu()-s)/2/float64(total); if best[n]==0||d<best[n] {best[n]=d} } }
 for n,v:=range best { fmt.Printf("%s %.2f ns/byte %.0f MB/s, %.0f ns a line\n",n,v,1000/v,v*float64(total)/5000) }
}
func BenchmarkZZ(b *testing.B){ p:=defaultPolicy(b); ls:=zzlines(); for b.Loop() {for _,l:=range ls {p.Suspect(l)}}}
