// oauth2-mock-server with refresh tokens that are single-use, which it does not see to itself.
// Prints its address, then one line for each token request: grant type and status.
import { OAuth2Server } from "oauth2-mock-server";

const server = new OAuth2Server();
await server.issuer.keys.generate("RS256");
const open = new Set();

server.service.on("beforeResponse", (response, request) => {
  const { grant_type: grant, refresh_token: spent } = request.body;
  if (grant === "refresh_token" && !open.delete(spent)) {
    response.statusCode = 400;
    response.body = { error: "invalid_grant" };
  } else if (response.body.refresh_token) {
    open.add(response.body.refresh_token);
  }
  console.log(`${grant} ${response.statusCode}`);
});

await server.start(0, "127.0.0.1");
console.log(`http://127.0.0.1:${server.address().port}`);
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
