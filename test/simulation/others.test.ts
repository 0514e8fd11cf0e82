/** The other 250 seeds of the simulation: a file of their own is a worker of their own. */
import { playAll } from "./playAll.ts"

playAll(251, 500)
