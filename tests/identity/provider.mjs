// An OpenID provider with one client, the hub. Prints its port; `login` of its form is the subject.
import http from "node:http";
import { Provider } from "oidc-provider";

const [clientId, clientSecret, redirectUri] = process.argv.slice(-3);
const server = http.createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{
      client_id: clientId,
      client_secret: clientSecret,
      redirect_uris: [redirectUri],
      id_token_signed_response_alg: "RS256",
    }],
    claims: { profile: ["preferred_username"] },
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, preferred_username: `${id}.name` }),
    }),
  });
  server.on("request", provider.callback());
  console.log(issuer);
});
