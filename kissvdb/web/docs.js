// The description comes from this server and is sent nowhere: no validator, no CDN.
const description = new URL("/openapi.yaml", location).href;

SwaggerUIBundle({
  url: "/openapi.yaml",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  // Its commands are for the usual address; here they are for this one.
  responseInterceptor: (response) => {
    if (response.url === description && response.text)
      response.text = response.text.replaceAll("localhost:9917", location.origin);
    return response;
  },
});
