/** Names keep their / and @ in an address, which the router takes back as they are. */
export const packagePath = (name: string) => `/packages/${name}`;
