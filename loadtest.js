export { default, options, setup } from "./deploy/k6/loadtest.js";
