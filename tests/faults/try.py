import asyncio, tempfile, json, pathlib, secrets
from tests.faults.stage import *
from tests.faults.client import *
from tests.faults.speech import text_of
async def main():
    home=pathlib.Path(tempfile.mkdtemp())
    async with stage(home,{}) as st:
        for kind in KINDS:
            for stream in (True, False):
                m="mark-"+secrets.token_hex(5)
                d=CLIENTS["openai_chat"]
                r=await call(st.gateway.port,"POST",d.path,d.key(CLIENT_KEY)|{"Content-Type":"application/json"},json.dumps(d.body(kind+".healthy","say "+m,stream)).encode())
                seen=(d.read_stream if stream else d.read_whole)(r.body)
                print(kind,stream,r.status,r.whole,seen.text==text_of(m),seen.finishes,seen.usage,seen.wrong,r.seconds, len(st.upstream.calls[m]))
                if not seen.text: print(r)
        print(await st.gateway.stop())
        print(st.gateway.log()[-1500:])
asyncio.run(main())
